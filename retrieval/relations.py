"""Relations between items and what they have to do with each other: the few frozen types of the knowledge graph.

Reads nothing, produces nothing; readers make them, the store keeps them, paths and evidence are made of them.
"""

from __future__ import annotations

from retrieval.types import Frozen, Text


class Entity(Frozen):
    """One end of a relation: an item of a catalogue (then `domain` and `id` name it), or anything else with a name.

    A person, a place, an award or a series has `domain=None`, and its name as `id`.
    """

    domain: str | None = None
    id: Text
    name: Text
    """What people call it: an item's title, else the name itself."""

    @property
    def is_item(self) -> bool:
        """Whether it is an item of a catalogue."""
        return self.domain is not None


class Relation(Frozen):
    """One fact, `subject` `predicate` `object`: "Blade Runner" "based_on" "Do Androids Dream of Electric Sheep?"."""

    subject: Entity
    predicate: Text
    object: Entity


class Path(Frozen):
    """How two items hang together: one to three relations, each sharing an entity with the one before.

    `relations` lead from the history item `start` to the candidate `end`; each keeps its own direction, so a step may
    be walked from its object to its subject.
    """

    start: Entity
    end: Entity
    relations: tuple[Relation, ...]
