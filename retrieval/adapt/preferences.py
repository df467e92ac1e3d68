"""What people liked. Reads a store, produces the items of its domains as texts and people as rows of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.store import Store
from retrieval.templates import PromptTemplate

Rows = NDArray[np.int64]
"""Places in `Taste.texts`."""
Liked = Mapping[int, Rows]
"""A person: number of a domain → rows of what they liked there, the oldest first."""

MIN_LIKED = 2
"""Fewest liked items of a person that teach anything: one to go by and one to find."""


@dataclass(frozen=True)
class Taste:
    """Catalogues and who liked what.

    Attributes:
        domains: their names.
        texts: of all items, as the encoder reads them.
        domain: number of each item's domain, shape (items,).
        people: those to learn from; `validation`: those to measure on.
    """

    domains: tuple[str, ...]
    texts: tuple[str, ...]
    domain: NDArray[np.int64]
    people: tuple[Liked, ...]
    validation: tuple[Liked, ...]

    def rows_of(self, domain: int) -> Rows:
        """All rows of a domain."""
        return np.flatnonzero(self.domain == domain)


def read_taste(
    store: Store, template: PromptTemplate, domains: Sequence[str], training: Iterable[str], validation: Iterable[str]
) -> Taste:
    """The items of some domains, and what the named users liked of them.

    Raises:
        UsageError: none of the users for training, or none of those for validation, liked enough.
    """
    texts: list[str] = []
    numbers: list[int] = []
    rows: dict[tuple[str, str], int] = {}
    for number, domain in enumerate(domains):
        for item in store.iter_items(domain):
            rows[domain, item.id] = len(texts)
            texts.append(template.text(item=item))
            numbers.append(number)
    people = tuple(_people(store, training, domains, rows))
    kept = tuple(_people(store, validation, domains, rows))
    if not people or not kept:
        raise UsageError(
            f"{len(people)} users to learn from and {len(kept)} to validate on liked at least {MIN_LIKED} items",
            hint="ingest more interactions, or learn from texts alone: --texts",
        )
    return Taste(tuple(domains), tuple(texts), np.asarray(numbers, dtype=np.int64), people, kept)


def _people(
    store: Store, users: Iterable[str], domains: Sequence[str], rows: Mapping[tuple[str, str], int]
) -> Iterable[Liked]:
    for user in users:
        found: dict[int, list[int]] = {}
        for entry in store.history(user).entries:
            row = rows.get((entry.item.domain, entry.item.id))
            if entry.liked and row is not None:
                found.setdefault(domains.index(entry.item.domain), []).append(row)
        if sum(map(len, found.values())) >= MIN_LIKED:
            yield {number: np.asarray(some, dtype=np.int64) for number, some in found.items()}
