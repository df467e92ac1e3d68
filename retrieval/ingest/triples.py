"""Triples of a file, one at a time. Reads CSV, JSONL, N-Triples and Turtle (each also gzipped), produces `Triple`s.

What stands in a triple becomes a name or a predicate in one way, whatever the format: of an IRI its last part counts
(`http://www.wikidata.org/entity/Q42` is `Q42`), a predicate is written in snake_case (`wasBasedOn`, `was based on` and
`…/wasBasedOn` are `was_based_on`), and the properties of Wikidata that matter here have names. A blank node names
nothing: a triple with one is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from retrieval.errors import DataError, UnreadableFile
from retrieval.ingest.turtle import Triples, n_triples, turtle
from retrieval.tabular import Columns, Line, Row, Source, opened, read_csv, read_jsonl
from retrieval.tabular.lines import RowProblem

if TYPE_CHECKING:
    from pyoxigraph import Quad

RELATION_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "subject": ("subject", "source", "head", "s"),
        "predicate": ("predicate", "relation", "property", "p"),
        "object": ("object", "target", "tail", "o"),
    }
)
"""The column names, in lower case, that each part of a triple is found under, preferred ones first."""

LABEL: Final = "label"
"""The predicate that is no relation: it says what people call its subject."""

WIKIDATA: Mapping[str, str] = MappingProxyType(
    {
        "P50": "written_by",
        "P57": "directed_by",
        "P58": "written_by",
        "P86": "composed_by",
        "P144": "based_on",
        "P155": "sequel_of",
        "P161": "has_actor",
        "P166": "won_award",
        "P179": "part_of_series",
        "P655": "translated_by",
        "P737": "influenced_by",
        "P840": "set_in",
        "P921": "about",
        "P941": "influenced_by",
    }
)
"""What the properties of Wikidata are called here."""

NO_NAME = "a part of the triple is missing"
NOT_A_NAME = "a list or object where a name belongs"
NOT_TEXT = "a character that is not text"
BLANK = "a blank node names nothing"

_LOOKED_AT = 100
_SHOWN = 1000  # characters of a bad row that are kept
_IRI: Final = re.compile(r"https?://\S+")
_NOT_TEXT: Final = re.compile("[\0\ud800-\udfff]")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Triple(NamedTuple):
    """A fact as the file has it: two names and a predicate. `language` is that of a label, empty if unknown."""

    line: int
    subject: str
    predicate: str
    object: str
    language: str = ""


def read_triples(
    path: Path, format: str | None = None, columns: Mapping[str, str] | None = None
) -> Iterator[Triple | RowProblem]:
    """The file's triples in order; one that cannot be read or names nothing is a problem.

    Args:
        path: the file.
        format: a key of `TRIPLE_READERS`; None: guessed from the suffix.
        columns: "subject", "predicate" and "object" to columns of a CSV or JSONL file, where the usual names
            (`RELATION_COLUMNS`) do not fit.

    Raises:
        UnreadableFile: the file is missing or of no known format.
        DataError: it has no rows, or lacks a column.
    """
    name = format or _guessed(path)
    if name not in TRIPLE_READERS:
        raise UnreadableFile(f"{path}: {name!r} is not a format", hint=f"formats: {', '.join(TRIPLE_READERS)}")
    return TRIPLE_READERS[name](path, columns or {})


@lru_cache(maxsize=4096)
def predicate_name(text: str) -> str:
    """A predicate in snake_case, of an IRI its last part; empty if nothing is left."""
    name = last_part(text) if _IRI.fullmatch(text) else text
    return WIKIDATA.get(name) or "_".join(re.findall(r"\w+", _HUMP.sub(" ", name))).strip("_").casefold()


def last_part(iri: str) -> str:
    """What an IRI ends with, behind the last "#", "/" or ":", with its percent signs resolved."""
    return unquote(re.split(r"[#/:]", iri.rstrip("#/"))[-1])


def _guessed(path: Path) -> str:
    name = path.name.casefold().removesuffix(".gz").rpartition(".")[2]
    if name not in TRIPLE_READERS:
        msg = f"{path}: the name does not tell the format"
        raise UnreadableFile(msg, hint=f"name the format: --format {'|'.join(TRIPLE_READERS)}")
    return name


def _rows(path: Path, reading: Iterator[Row | RowProblem], columns: Mapping[str, str]) -> Iterator[Triple | RowProblem]:
    """Triples of rows with columns."""
    first = list(islice(reading, _LOOKED_AT))
    present = list(dict.fromkeys(name for row in first if not isinstance(row, RowProblem) for name in row[1]))
    if not present:
        reason = first[0].reason if first and isinstance(first[0], RowProblem) else "it has no rows"
        hint = "a CSV or JSONL file with subject, predicate and object"
        raise DataError(f"{path}: no readable row: {reason}", hint=hint)
    known = Columns(RELATION_COLUMNS, present, columns, RELATION_COLUMNS)
    return (row if isinstance(row, RowProblem) else _of_row(row, known) for row in chain(first, reading))


def _of_row(row: Row, columns: Columns) -> Triple | RowProblem:
    line, values = row
    fields = columns.split(values)[0]
    texts = {}
    for part in RELATION_COLUMNS:
        value = fields.get(part)
        if isinstance(value, list | dict):
            return RowProblem(line, NOT_A_NAME, _shown(values), part)
        texts[part] = "" if value is None else str(value).strip()
    names = {part: last_part(text) if _IRI.fullmatch(text) else text for part, text in texts.items()}
    return _checked(Triple(line, names["subject"], texts["predicate"], names["object"]), values)


def _rdf(path: Path, parse: Callable[[Iterator[Line | RowProblem]], Triples]) -> Iterator[Triple | RowProblem]:
    """Triples of an RDF file."""
    with opened(Source(path)) as lines:
        for found in parse(lines):
            yield found if isinstance(found, RowProblem) else _of_quad(*found)


def _of_quad(line: int, quad: Quad) -> Triple | RowProblem:
    from pyoxigraph import Literal, NamedNode

    subject, object_ = quad.subject, quad.object
    if not isinstance(subject, NamedNode) or not isinstance(object_, NamedNode | Literal):
        return RowProblem(line, BLANK, str(quad))
    language = (object_.language or "") if isinstance(object_, Literal) else ""
    name = object_.value if isinstance(object_, Literal) else last_part(object_.value)
    return _checked(Triple(line, last_part(subject.value), quad.predicate.value, name, language), quad)


def _checked(triple: Triple, row: Mapping[str, object] | Quad) -> Triple | RowProblem:
    """The triple with clean names, or why it says nothing."""
    if _NOT_TEXT.search("".join(triple[1:])):
        return RowProblem(triple.line, NOT_TEXT, _shown(row))
    subject, object_ = (" ".join(name.split()) for name in (triple.subject, triple.object))
    predicate = predicate_name(triple.predicate)
    missing = [name for name, text in zip(RELATION_COLUMNS, (subject, predicate, object_), strict=True) if not text]
    if missing:
        return RowProblem(triple.line, NO_NAME, _shown(row), ", ".join(missing))
    return Triple(triple.line, subject, predicate, object_, triple.language)


def _shown(row: Mapping[str, object] | Quad) -> str:
    text = json.dumps(row, ensure_ascii=False, default=str) if isinstance(row, Mapping) else str(row)
    return text[:_SHOWN]


TRIPLE_READERS: Mapping[str, Callable[[Path, Mapping[str, str]], Iterator[Triple | RowProblem]]] = MappingProxyType(
    {
        "csv": lambda path, columns: _rows(path, read_csv(Source(path)), columns),
        "jsonl": lambda path, columns: _rows(path, read_jsonl(Source(path)), columns),
        "nt": lambda path, _: _rdf(path, n_triples),
        "ttl": lambda path, _: _rdf(path, turtle),
    }
)
"""The readers by format name, which is also the file suffix."""
