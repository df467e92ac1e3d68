"""RDF files whose broken lines cost nothing else. Reads N-Triples or Turtle, produces rows of triples and problems.

pyoxigraph parses strictly, a piece at a time, so that reading goes on behind an error and every problem has its
line. N-Triples are parsed line by line, Turtle in blocks of lines that end with a statement's full stop, each with
the prefixes declared above it. Of a broken block the parts (up to a semicolon) are parsed alone, and of a broken part
its lines. The work grows linearly with the file: each line is scanned once and parsed at most six times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from retrieval.tabular.readers import (
    MAX_ROW,
    ROW_READERS,
    Line,
    RowProblem,
    RowReader,
    Rows,
    Source,
    excerpt,
    open_lines,
    read_lines,
)
from retrieval.tabular.rows import RefusedRow

if TYPE_CHECKING:
    from pyoxigraph import Quad

NOT_RDF: Final = "not RDF"
BLANK_NODE: Final = "a blank node names nothing"

# Strings, IRIs and comments: what may hold a full stop that ends nothing. A group matches if a string is closed. The
# quantifiers are possessive and take what is unclosed to its end: nothing is scanned twice.
_OPAQUE: Final = re.compile(
    rb'"""(?:[^"\\]|\\.?+|"(?!""))*+(""")?+'
    rb"|'''(?:[^'\\]|\\.?+|'(?!''))*+(''')?+"
    rb'|"(?:[^"\\\n]|\\[^\n]?+)*+(")?+'
    rb"|'(?:[^'\\\n]|\\[^\n]?+)*+(')?+"
    rb'|<[^<>"\s]*+>'
    rb"|\#[^\n]*+",
    re.DOTALL,
)
_DIRECTIVE: Final = re.compile(rb"\s*(?:PREFIX\s+\S*:|BASE)\s*<[^<>\s]*>\s*(?:#.*)?$", re.IGNORECASE)
_PREFIX: Final = re.compile(rb"(?<![^\s<>\"'^,;()\[\]:])([^\s<>\"'^,;()\[\]:]*+):")
_SUBJECT: Final = re.compile(rb"\s*(<[^<>\s]*>|[^\s<>\"'\[\]();,]+)\s")

_Block = list[Line]


def read_ntriples(source: Source) -> Rows:
    """Subject, predicate, object and language of the triple of each line."""
    return read_lines(source, _parse_ntriple)


def read_turtle(source: Source) -> Rows:
    """Subject, predicate, object and language of each triple, with the number of its block's first line."""
    parser = _BlockParser()
    with open_lines(source) as lines:
        for block in _blocks(lines):
            if isinstance(block, RowProblem):
                yield block
                continue
            try:
                quads = parser.parse(_text(block))
            except SyntaxError as exc:
                yield from _rescued(parser, block, _message(exc))
            else:
                yield from _rows(block[0][0], quads)


TRIPLE_READERS: Final[Mapping[str, RowReader]] = MappingProxyType(
    {**ROW_READERS, "nt": read_ntriples, "ttl": read_turtle}
)
"""The readers of triples by format name, which is also the file suffix."""


def last_part(iri: str) -> str:
    """What an IRI ends with, behind the last "#", "/" or ":", with its percent signs resolved."""
    return unquote(re.split(r"[#/:]", iri.rstrip("#/"))[-1])


def _parse_ntriple(raw: bytes) -> dict[str, object] | None:
    from pyoxigraph import RdfFormat, parse

    try:
        quads = list(parse(raw, RdfFormat.N_TRIPLES))
    except SyntaxError as exc:
        raise RefusedRow(NOT_RDF, _message(exc)) from exc
    return _values(quads[0]) if quads else None


def _rows(number: int, quads: Sequence[Quad]) -> Rows:
    for quad in quads:
        try:
            yield number, _values(quad)
        except RefusedRow as exc:
            yield RowProblem(number, exc.reason, str(quad))


def _values(quad: Quad) -> dict[str, object]:
    from pyoxigraph import Literal, NamedNode

    subject, value = quad.subject, quad.object
    if not isinstance(subject, NamedNode) or not isinstance(value, NamedNode | Literal):
        raise RefusedRow(BLANK_NODE)
    literal = isinstance(value, Literal)
    return {
        "subject": last_part(subject.value),
        "predicate": quad.predicate.value,
        "object": value.value if literal else last_part(value.value),
        "language": (value.language or "") if isinstance(value, Literal) else "",
    }


class _BlockParser:
    """Parses pieces of Turtle with the prefixes and the base of the pieces before."""

    def __init__(self) -> None:
        self._prefixes: dict[str, str] = {}
        self._base: str | None = None

    def parse(self, text: bytes) -> list[Quad]:
        """The triples of a piece.

        Raises:
            SyntaxError: it is no Turtle.
        """
        from pyoxigraph import RdfFormat, parse

        used = {name.decode(errors="replace") for name in _PREFIX.findall(text)} & self._prefixes.keys()
        head = "".join(f"@prefix {name}: <{self._prefixes[name]}> .\n" for name in sorted(used))
        parser = parse(head.encode() + text, RdfFormat.TURTLE, base_iri=self._base)
        quads = list(parser)
        self._prefixes |= parser.prefixes
        self._base = parser.base_iri or self._base
        return quads


def _blocks(lines: Iterator[Line | RowProblem]) -> Iterator[_Block | RowProblem]:
    """Lines up to one at whose end a statement ends; blocks longer than 1 MiB are cut."""
    block: _Block = []
    size, quote = 0, b""
    for line in lines:
        if isinstance(line, RowProblem):
            if block:
                yield block
            yield line
            block, size, quote = [], 0, b""
            continue
        code, quote = _code(quote + line[1])
        if not block and not code.strip():
            continue
        block.append(line)
        size += len(line[1])
        if size > MAX_ROW or (not quote and (code.rstrip().endswith(b".") or _DIRECTIVE.match(line[1]))):
            yield block
            block, size, quote = [], 0, b""
    if block:
        yield block


def _code(text: bytes) -> tuple[bytes, bytes]:
    """The text with strings and IRIs blanked and without comments; the quotes of a long string that stays open."""
    open_quote = b""

    def blanked(token: re.Match[bytes]) -> bytes:
        nonlocal open_quote
        if token[0].startswith(b"#"):
            return b""
        if token.lastindex is None and token[0].startswith((b'"""', b"'''")):
            open_quote = token[0][:3]
        elif token.lastindex is None and not token[0].startswith(b"<"):
            return token[0]
        return b'"'

    return _OPAQUE.sub(blanked, text), open_quote


def _rescued(parser: _BlockParser, block: _Block, reason: str) -> Rows:
    """What can be read of a broken block: whole parts, of broken parts whole lines; the rest is a problem each."""
    subject = b""
    for part in _parts(block):
        pieces = [part] if len(part) == 1 else [part, *([line] for line in part)]
        for piece in pieces:
            parsed = _piece(parser, _text(piece), subject)
            if parsed is not None:
                subject, quads = parsed
                yield from _rows(piece[0][0], quads)
                if piece is part:
                    break
            elif piece is not part or len(part) == 1:
                yield RowProblem(piece[0][0], NOT_RDF, excerpt(_text(piece)), reason)


def _piece(parser: _BlockParser, text: bytes, subject: bytes) -> tuple[bytes, list[Quad]] | None:
    """The triples of a piece that is a statement, or one with the subject of the statement before; and its subject."""
    uncommented = _OPAQUE.sub(lambda token: b"" if token[0].startswith(b"#") else token[0], text).rstrip()
    if not uncommented.endswith((b";", b".")):  # nobody knows how it went on
        return None
    own = _SUBJECT.match(text)
    for head in (b"", subject + b" ") if subject else (b"",):
        try:
            quads = parser.parse(head + uncommented[:-1] + b" .\n")
        except SyntaxError:
            continue
        return (subject if head or own is None else own[1]), quads
    return None


def _parts(block: _Block) -> Iterator[_Block]:
    """Lines up to one that ends with a semicolon or full stop."""
    part: _Block = []
    for line in block:
        part.append(line)
        code, quote = _code(line[1])
        if (line[1] if quote else code).rstrip().endswith((b";", b".")):
            yield part
            part = []
    if part:
        yield part


def _text(block: _Block) -> bytes:
    return b"".join(raw for _, raw in block)


def _message(exc: SyntaxError) -> str:
    """What pyoxigraph says, less the position: it counts from the piece's beginning."""
    return re.sub(r"^Parser error.*?column \d+(?: and .*?column \d+)?: |^.* at line \d+.*?: ", "", str(exc.msg))[:200]
