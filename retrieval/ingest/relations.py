"""Triples into the store. Reads rows of tables and RDF, produces relations between things, and what became of each.

A name is an item if it is `domain:id`, or an id that exactly one domain has; else it is the name of something that is
no item: a person, a place, an award. Of an IRI the last part counts (`http://www.wikidata.org/entity/Q42` is `Q42`), a
predicate is written in snake_case, and the properties of Wikidata that matter here have names.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from retrieval.formats import Record, Triple
from retrieval.ingest.writer import UNKNOWN_ITEM, Refusal
from retrieval.store import (
    RELATIONS,
    Database,
    RelationStore,
    chunks,
    item_table,
    numbers_of,
    relation_table,
    thing_table,
)
from retrieval.tabular import Columns, RefusedRow, cell_text, last_part, storable

BATCH: Final = 5000
"""Triples in one transaction."""
AMBIGUOUS: Final = "several domains have an item with this id"
ITSELF: Final = "a relation of a thing to itself"
RELATION_COLUMNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "subject": ("subject", "source", "head", "s"),
        "predicate": ("predicate", "relation", "property", "p"),
        "object": ("object", "target", "tail", "o"),
    }
)
"""Accepted column names of each part of a triple, in lower case, preferred ones first."""

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
_PREFERRED_LANGUAGES: Final = frozenset({"", "en", "mul"})  # whose labels win over those in others
_Thing = tuple[str | None, str]


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


class RelationWriter:
    """Writes the triples of one run, batch by batch; what had only a name and is an item by now becomes that item.

    Attributes:
        predicates: by predicate how many triples were "added", "unchanged", "repeated" (earlier in the same run) or
            "rejected".
        labels: how many triples only said what something is called.
    """

    batch_size = BATCH

    def __init__(self, store: RelationStore) -> None:
        self.store = store
        self.predicates: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.labels = 0
        self._db = store.database
        self._run = secrets.randbits(62)
        with self._db.writing() as connection:
            self._domains = list(connection.scalars(sa.select(item_table.c.domain).distinct()))
            if _merge_names_into_items(self._db, connection, self._domains):
                self._db.increment(connection, RELATIONS)

    def accept(self, record: Record) -> Record:
        """Every triple is written."""
        return record

    def write(self, records: Sequence[Record]) -> tuple[Mapping[str, int], Sequence[Refusal]]:
        """Write a batch in one transaction; how many triples were added, unchanged or repeated, and those refused."""
        triples = [record for record in records if isinstance(record, Triple)]
        outcomes: Counter[str] = Counter()
        refusals: list[Refusal] = []
        with self._db.writing() as connection:
            meanings = self._meanings(connection, {name for triple in triples for name in _names(triple)})
            good = []
            for position, triple in enumerate(triples):
                if problem := _problem(triple, meanings):
                    refusals.append(Refusal(position, *problem))
                else:
                    good.append(triple)
            needed = [meanings[name][0] for triple in good for name in _names(triple)]
            numbers = _numbers(self._db, connection, dict.fromkeys(needed))
            ends: dict[str, list[tuple[int, int]]] = {}
            for triple in good:
                subject = numbers[meanings[triple.subject][0]]
                if triple.predicate == LABEL:
                    _set_label(connection, subject, triple)
                else:
                    ends.setdefault(triple.predicate, []).append((subject, numbers[meanings[triple.object][0]]))
            by_predicate = {
                predicate: self._relate(connection, predicate, pairs) for predicate, pairs in sorted(ends.items())
            }
            for counts in by_predicate.values():
                outcomes.update(counts)
            if outcomes["added"]:
                self._db.increment(connection, RELATIONS)
        # Only now, when the transaction is committed, do the triples count.
        for predicate, counts in by_predicate.items():
            self.predicates[predicate].update(counts)
        for refusal in refusals:
            self.predicates[triples[refusal.position].predicate]["rejected"] += 1
        self.labels += sum(triple.predicate == LABEL for triple in good)
        return outcomes, refusals

    def _meanings(self, connection: sa.Connection, names: Iterable[str]) -> Mapping[str, list[_Thing]]:
        """What each name can mean: one thing, several items, or none where it begins like an item's and is none."""
        bare: dict[str, list[_Thing]] = {name: [] for name in names}
        qualified: dict[str, list[_Thing]] = {}
        for domain in self._domains:
            prefixed = {name: name[len(domain) + 1 :] for name in bare if name.startswith(f"{domain}:")}
            there = _known_ids(connection, domain, [*bare, *prefixed.values()])
            for name in bare.keys() & there:
                bare[name].append((domain, name))
            for name, id_ in prefixed.items():
                qualified.setdefault(name, [])
                if id_ in there:
                    qualified[name].append((domain, id_))
        return {name: items or qualified.get(name, [(None, name)]) for name, items in bare.items()}

    def _relate(self, connection: sa.Connection, predicate: str, pairs: Sequence[tuple[int, int]]) -> Counter[str]:
        rows = [{"subject": s, "predicate": predicate, "object": o, "run": self._run} for s, o in dict.fromkeys(pairs)]
        insert = self._db.insert(relation_table).on_conflict_do_nothing().returning(relation_table.c.subject)
        added = len(connection.execute(insert, rows).all())
        unchanged = 0
        if added < len(rows):
            # What an earlier run wrote is unchanged once, then repeated.
            same = sa.and_(
                relation_table.c.subject == sa.bindparam("s"),
                relation_table.c.predicate == predicate,
                relation_table.c.object == sa.bindparam("o"),
                relation_table.c.run != self._run,
            )
            ends = [{"s": row["subject"], "o": row["object"]} for row in rows]
            unchanged = connection.execute(sa.update(relation_table).where(same).values(run=self._run), ends).rowcount
        return Counter(added=added, unchanged=unchanged, repeated=len(pairs) - added - unchanged)


def _set_label(connection: sa.Connection, number: int, triple: Triple) -> None:
    update = sa.update(thing_table).where(thing_table.c.number == number)
    if triple.language not in _PREFERRED_LANGUAGES:
        update = update.where(thing_table.c.label.is_(None))
    connection.execute(update.values(label=triple.object))


def _names(triple: Triple) -> tuple[str, ...]:
    return (triple.subject,) if triple.predicate == LABEL else (triple.subject, triple.object)


def _problem(triple: Triple, meanings: Mapping[str, list[_Thing]]) -> tuple[str, str] | None:
    for name in _names(triple):
        if not meanings[name]:
            return UNKNOWN_ITEM, repr(name)
        if len(meanings[name]) > 1:
            return AMBIGUOUS, f"{name!r} is {' or '.join(f'{domain}:{id_}' for domain, id_ in meanings[name])}"
    if triple.predicate != LABEL and meanings[triple.subject] == meanings[triple.object]:
        return ITSELF, repr(triple.subject)
    return None


def _known_ids(connection: sa.Connection, domain: str, ids: Sequence[str]) -> set[str]:
    """Those of the ids that the domain has."""
    query = sa.select(item_table.c.id).where(item_table.c.domain == domain)
    return {id_ for chunk in chunks(ids) for id_ in connection.scalars(query.where(item_table.c.id.in_(chunk)))}


def _numbers(database: Database, connection: sa.Connection, needed: Collection[_Thing]) -> dict[_Thing, int]:
    """The numbers of things; those that are not there are inserted."""
    numbers = dict(numbers_of(connection, needed))
    if missing := [thing for thing in needed if thing not in numbers]:
        connection.execute(database.insert(thing_table), [{"domain": domain, "name": name} for domain, name in missing])
        numbers |= dict(numbers_of(connection, missing))
    return numbers


def _merge_names_into_items(database: Database, connection: sa.Connection, domains: Iterable[str]) -> int:
    """Turn names that are the id of exactly one item by now into that item; returns how many."""
    table = thing_table.c
    candidates: dict[tuple[int, str], list[str]] = {}
    for domain in domains:
        same = sa.and_(item_table.c.domain == domain, item_table.c.id == table.name)
        query = sa.select(table.number, table.name).join(item_table, same).where(table.domain.is_(None))
        for number, name in connection.execute(query):
            candidates.setdefault((number, name), []).append(domain)
    unique = {key: names[0] for key, names in candidates.items() if len(names) == 1}
    for (number, name), domain in unique.items():
        item = dict(numbers_of(connection, [(domain, name)])).get((domain, name))
        if item is None:
            connection.execute(sa.update(thing_table).where(table.number == number).values(domain=domain))
        else:
            _move_relations(database, connection, number, item)
    return len(unique)


def _move_relations(database: Database, connection: sa.Connection, old: int, new: int) -> None:
    """Move the relations of one thing to another, and delete it."""
    table = relation_table.c
    for end, other in ((table.subject, table.object), (table.object, table.subject)):
        columns = [sa.literal(new).label(one.name) if one is end else one for one in table]
        query = sa.select(*columns).where(end == old, other != new)
        insert = database.insert(relation_table).from_select([one.name for one in table], query)
        connection.execute(insert.on_conflict_do_nothing())
    connection.execute(sa.delete(thing_table).where(thing_table.c.number == old))
