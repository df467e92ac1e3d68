"""Triples of rows. Reads rows of tables and of RDF, produces `Triple`s of clean names.

What stands in a triple becomes a name or a predicate in one way, whatever the format: of an IRI its last part counts
(`http://www.wikidata.org/entity/Q42` is `Q42`), a predicate is written in snake_case (`wasBasedOn`, `was based on` and
`…/wasBasedOn` are `was_based_on`), and the properties of Wikidata that matter here have names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from retrieval.formats import Triple
from retrieval.ingest.turtle import last_part, read_ntriples, read_turtle
from retrieval.tabular import ROW_READERS, Columns, RefusedRow, RowReader, cell_text, storable

RELATION_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "subject": ("subject", "source", "head", "s"),
        "predicate": ("predicate", "relation", "property", "p"),
        "object": ("object", "target", "tail", "o"),
    }
)
"""Accepted column names of each part of a triple, in lower case, preferred ones first."""

TRIPLE_READERS: Final[Mapping[str, RowReader]] = MappingProxyType(
    {**ROW_READERS, "nt": read_ntriples, "ttl": read_turtle}
)
"""The readers by format name, which is also the file suffix."""

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

NO_NAME: Final = "a part of the triple is missing"

_IRI: Final = re.compile(r"https?://\S+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=4096)
def predicate_name(text: str) -> str:
    """A predicate in snake_case, of an IRI its last part; empty if nothing is left."""
    name = _name(text)
    return WIKIDATA.get(name) or "_".join(re.findall(r"\w+", _HUMP.sub(" ", name))).strip("_").casefold()


def parse_table_row(columns: Columns, row: Mapping[str, object]) -> Triple:
    """The triple of a row with columns of text."""
    fields = columns.split(row)[0]
    subject, predicate, object_ = (cell_text(fields.get(part)) for part in RELATION_COLUMNS)
    return _triple(_name(subject), predicate, _name(object_))


def parse_rdf_row(row: Mapping[str, object]) -> Triple:
    """The triple of a row of RDF, whose IRIs are names already and whose literals are their texts."""
    return _triple(*(str(row[part]) for part in (*RELATION_COLUMNS, "language")))


def _name(text: str) -> str:
    return last_part(text) if _IRI.fullmatch(text) else text


def _triple(subject: str, predicate: str, object_: str, language: str = "") -> Triple:
    storable(subject + predicate + object_)
    triple = Triple(" ".join(subject.split()), predicate_name(predicate), " ".join(object_.split()), language)
    if missing := [part for part, name in zip(RELATION_COLUMNS, triple[:3], strict=True) if not name]:
        raise RefusedRow(NO_NAME, ", ".join(missing))
    return triple
