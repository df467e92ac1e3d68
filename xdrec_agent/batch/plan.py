"""What a batch is to do. Reads users and arguments, produces a `Job` and its partitions, named by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.types import Frozen
from xdrec_agent.batch.users import ALL
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_SECTIONS: Final = {"encoder": {"batch_size"}, "index": {"chroma_url"}, "retriever": set(), "rerank": set()}
"""Sections of the settings that decide what comes out, and which of their names do not."""


class Job(Frozen):
    """The arguments of a batch: all that decides what comes out. Two runs with the same job make the same files.

    Attributes:
        users: "all" (as of the first run), or the SHA-256 of the ids in byte order.
        settings: SHA-256 of the settings of retrieval, reranking and reasons.
    """

    sources: tuple[str, ...]
    target: str
    k: int
    explain: bool
    users: str
    size: int
    model: str
    settings: str

    def differences(self, other: Job) -> list[str]:
        """What `other` has that this has not, as sentences."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        return [f"{name} was {mine[name]}, is {theirs[name]}" for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True)
class Partition:
    """A part of the users, the content of one file."""

    name: str
    users: tuple[str, ...]


def make_job(
    settings: Settings,
    given: str,
    users: pa.Array,
    sources: Sequence[str],
    target: str,
    k: int,
    size: int,
    explain: bool,
) -> Job:
    """The job that the arguments and the settings mean; servers, deadlines and places of data are not part of it."""
    parts = [getattr(settings, name).model_dump_json(exclude=out) for name, out in _SECTIONS.items()]
    if explain:
        parts.append(settings.explain.model_dump_json())
    parts += [rule.model_dump_json() for rule in settings.exclusions]
    return Job(
        sources=tuple(sources),
        target=target,
        k=k,
        explain=explain,
        users=ALL if given == ALL else _hash(users.to_pylist()),
        size=size,
        model=settings.llm.adapter or settings.llm.model,
        settings=_hash(parts),
    )


def partitions(job: Job, users: pa.Array) -> Iterator[Partition]:
    """The users in parts of `job.size`, in order; a part's name is a hash of the job and of its users."""
    arguments = job.model_dump_json()
    for start in range(0, len(users), job.size):
        members = tuple(users.slice(start, job.size).to_pylist())
        yield Partition(f"part-{_hash((arguments, *members))[:20]}", members)


def _hash(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()
