"""RDF files whose broken lines cost nothing else. Reads lines of N-Triples or Turtle, produces triples and problems.

pyoxigraph parses, but cannot go on behind an error. N-Triples are therefore parsed line by line, and Turtle in blocks
of lines that end with a statement's full stop, each with the prefixes that were declared above it. Where a block is
broken its parts (up to a semicolon) are tried alone, and of a broken part its lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from retrieval.tabular import Line, shown
from retrieval.tabular.lines import MAX_ROW, RowProblem

if TYPE_CHECKING:
    from pyoxigraph import Quad

NOT_RDF = "not RDF"

# What may hold a full stop that ends nothing; the group is a long text that is not closed.
_INSIDE: Final = re.compile(
    rb'''"""(?:[^"\\]|\\.|"(?!""))*"""|'''
    rb"""'''(?:[^'\\]|\\.|'(?!''))*'''|"""
    rb'''("""|\'\'\')|"(?:[^"\\\n]|\\.)*"|'''
    rb"""'(?:[^'\\\n]|\\.)*'|<[^<>"\s]*>|\#[^\n]*""",
    re.DOTALL,
)
_DIRECTIVE: Final = re.compile(rb"\s*(?:PREFIX\s+\S*:|BASE)\s*<[^<>\s]*>\s*(?:#.*)?$", re.IGNORECASE)
_PREFIX: Final = re.compile(rb"([^\s<>\"'^,;()\[\]:]*):")
_SUBJECT: Final = re.compile(rb"\s*(<[^<>\s]*>|[^\s<>\"'\[\]();,]+)\s")

Triples = Iterator["tuple[int, Quad] | RowProblem"]


def n_triples(lines: Iterator[Line | RowProblem]) -> Triples:
    """The triple of each line, with its number."""
    from pyoxigraph import RdfFormat, parse

    for line in lines:
        if isinstance(line, RowProblem):
            yield line
            continue
        number, raw = line
        try:
            yield from [(number, quad) for quad in parse(raw, RdfFormat.N_TRIPLES)]
        except SyntaxError as exc:
            yield RowProblem(number, NOT_RDF, shown(raw), _reason(exc))


def turtle(lines: Iterator[Line | RowProblem]) -> Triples:
    """The triples of each block of lines, with the number of its first line."""
    parser = _Parser()
    for block in _blocks(lines):
        if isinstance(block, RowProblem):
            yield block
            continue
        try:
            yield from [(block[0][0], quad) for quad in parser.triples(b"".join(raw for _, raw in block))]
        except SyntaxError as exc:
            yield from _rescued(parser, block, _reason(exc))


class _Parser:
    """Parses pieces of Turtle with the prefixes of the pieces before."""

    def __init__(self) -> None:
        self._prefixes: dict[str, str] = {}
        self._base: str | None = None

    def triples(self, text: bytes) -> list[Quad]:
        from pyoxigraph import RdfFormat, parse

        used = {name.decode(errors="replace") for name in _PREFIX.findall(text)} & self._prefixes.keys()
        head = "".join(f"@prefix {name}: <{self._prefixes[name]}> .\n" for name in sorted(used))
        parser = parse(head.encode() + text, RdfFormat.TURTLE, base_iri=self._base)
        quads = list(parser)
        self._prefixes |= parser.prefixes
        self._base = parser.base_iri or self._base
        return quads


def _blocks(lines: Iterator[Line | RowProblem]) -> Iterator[list[Line] | RowProblem]:
    """Lines up to one at whose end a statement ends; longer than 1 MiB they are given up as they are."""
    block: list[Line] = []
    size, unclosed, quote = 0, b"", b""
    for line in lines:
        if isinstance(line, RowProblem):
            if block:
                yield block
            yield line
            block, size, unclosed, quote = [], 0, b"", b""
            continue
        block.append(line)
        size += len(line[1])
        unclosed += line[1]
        if quote not in line[1] and size <= MAX_ROW:
            continue
        quote = next((found[1] for found in _INSIDE.finditer(unclosed) if found[1]), b"")
        if size > MAX_ROW or (not quote and (_bare(unclosed).endswith(b".") or _DIRECTIVE.match(line[1]))):
            yield block
            block, size, quote = [], 0, b""
        if not quote:
            unclosed = b""
    if block:
        yield block


def _rescued(parser: _Parser, block: Sequence[Line], reason: str) -> Triples:
    """What can be read of a broken block: whole parts, of broken parts whole lines; the rest is a problem each."""
    subject = b""
    for part in _parts(block):
        tried = [part] if len(part) == 1 else [part, *([line] for line in part)]
        for piece in tried:
            text = b"".join(raw for _, raw in piece)
            found = _piece(parser, text, subject)
            if found is not None:
                subject, quads = found
                yield from [(piece[0][0], quad) for quad in quads]
                if piece is part:
                    break
            elif piece is not part or len(part) == 1:
                yield RowProblem(piece[0][0], NOT_RDF, shown(text), reason)


def _piece(parser: _Parser, text: bytes, subject: bytes) -> tuple[bytes, list[Quad]] | None:
    """The triples of a piece that is a statement, or one with the subject of the statement before; and its subject."""
    body = _ending(text)
    if body is None:
        return None
    own = _SUBJECT.match(text)
    for head in (b"", subject + b" ") if subject else (b"",):
        try:
            quads = parser.triples(head + body + b" .\n")
        except SyntaxError:
            continue
        return (subject if head or own is None else own[1]), quads
    return None


def _ending(text: bytes) -> bytes | None:
    """A piece without the mark that ends it; None if it ends with none: who knows how it went on."""
    bare = _INSIDE.sub(lambda found: b" " if found[0].startswith(b"#") else found[0], text).rstrip()
    return bare[:-1] if bare.endswith((b";", b".")) else None


def _bare(text: bytes) -> bytes:
    """A text without what may hold a full stop that ends nothing."""
    return _INSIDE.sub(b" ", text).rstrip()


def _parts(block: Sequence[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    for line in block:
        part.append(line)
        if _bare(line[1]).endswith((b";", b".")):
            yield part
            part = []
    if part:
        yield part


def _reason(exc: SyntaxError) -> str:
    """What pyoxigraph says, less the position: it counts from the piece's beginning."""
    return re.sub(r"^Parser error.*?column \d+(?: and .*?column \d+)?: |^.* at line \d+.*?: ", "", str(exc.msg))[:200]
