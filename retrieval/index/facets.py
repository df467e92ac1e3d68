"""Facets: what a language model says of an item beyond its catalogue. Reads nothing, produces their type.

They are generated, not known: they help the encoder to place an item and are never evidence for anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol

from retrieval.types import Frozen


class Facets(Frozen):
    """What an item is about and for whom; empty where the model does not know it."""

    themes: tuple[str, ...] = ()
    mood: tuple[str, ...] = ()
    setting: str | None = None
    period: str | None = None
    audience: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is known."""
        return self == Facets()

    def mark(self) -> str:
        """A short hash of the content."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class FacetSource(Protocol):
    """Where the index gets facets from."""

    def facets(self, domain: str, ids: Iterable[str]) -> Mapping[str, Facets]:
        """The facets of those of the items that have any and have not changed since."""
        ...

    def marks(self, domain: str) -> Mapping[str, str]:
        """For every item of a domain that has facets their mark."""
        ...

    def generation(self, domain: str) -> int:
        """How often the domain's facets have changed."""
        ...
