"""Personal data. Reads and deletes everything that is kept about a person, in every place where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from retrieval.errors import UsageError
from retrieval.store import Store


@dataclass(frozen=True)
class Place:
    """A home of personal data: how to read and how to delete what it holds of a user."""

    export: Callable[[Store, str], list[dict[str, Any]]]
    delete: Callable[[Store, str], int]


def _interactions(store: Store, user: str) -> list[dict[str, Any]]:
    return [interaction.model_dump() for interaction in store.export_user(user)]


PLACES: Final[Mapping[str, Place]] = {"interactions": Place(_interactions, lambda store, user: store.delete_user(user))}
"""Every place, by name. What keeps something about a person registers here."""


def export_user(store: Store, user: str) -> dict[str, Any]:
    """All that is kept about `user`, by place.

    Raises:
        UsageError: nothing is kept about such a user.
    """
    kept = {name: place.export(store, user) for name, place in PLACES.items()}
    if not any(kept.values()):
        raise UsageError(f"nothing is kept about a user {user!r}", hint="xdrec users list")
    return {"user": user, **kept}


def delete_user(store: Store, user: str) -> dict[str, int]:
    """Delete all that is kept about `user`; how many records went, by place.

    Raises:
        UsageError: nothing is kept about such a user.
    """
    export_user(store, user)
    return {name: place.delete(store, user) for name, place in PLACES.items()}
