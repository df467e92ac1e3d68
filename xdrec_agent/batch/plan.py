"""What a batch is to do. Reads users (a file, or the store) and a request, produces a `Job` and its partitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from retrieval.errors import UnreadableFile, UsageError
from retrieval.store import Store
from retrieval.tabular import INTERACTION_COLUMNS, RefusedRow, RowProblem, cell_text, peek_columns, read_rows
from retrieval.types import Frozen
from xdrec_agent.settings import Settings

ALL: Final = "all"
_SECTIONS: Final = {"encoder": {"batch_size"}, "index": {"chroma_url"}, "retriever": set(), "rerank": set()}
"""Sections of the settings that decide what comes out, and which of their names do not."""


@dataclass(frozen=True)
class Request:
    """What is wanted.

    Attributes:
        users: a file, or "all".
        output: a folder, or a URL that pyarrow.fs opens.
        size: users in a part.
        ray: the cluster's address, or "local".
        retry: whether the degraded rows are made anew, instead of what is not done yet.
        engine: the configured servers, or vLLM on the cluster's GPUs.
    """

    users: str
    sources: tuple[str, ...]
    target: str
    k: int
    output: str
    size: int = 256
    explain: bool = True
    ray: str = "local"
    retry: bool = False
    engine: Literal["servers", "vllm"] = "servers"


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


def make_job(settings: Settings, request: Request, users: Sequence[str]) -> Job:
    """The job that a request and the settings mean; servers, deadlines and places of data are not part of it."""
    parts = [getattr(settings, name).model_dump_json(exclude=out) for name, out in _SECTIONS.items()]
    if request.explain:
        parts.append(settings.explain.model_dump_json())
    parts += [rule.model_dump_json() for rule in settings.exclusions]
    return Job(
        sources=request.sources,
        target=request.target,
        k=request.k,
        explain=request.explain,
        users=ALL if request.users == ALL else _hash(users),
        size=request.size,
        model=settings.llm.adapter or settings.llm.model,
        settings=_hash(parts),
    )


def partitions(job: Job, users: Sequence[str]) -> Iterator[Partition]:
    """The users in parts of `job.size`, in order; a part's name is a hash of the job and of its users."""
    arguments = job.model_dump_json()
    for start in range(0, len(users), job.size):
        members = tuple(users[start : start + job.size])
        yield Partition(f"part-{_hash((arguments, *members))[:20]}", members)


def read_users(given: str, store: Store, source: Sequence[str]) -> list[str]:
    """The ids, each once, in byte order.

    Args:
        given: a file of any table format with a column of users (`user`, `user_id`, or the only one); "all": everybody
            with interactions in one of the source domains.

    Raises:
        UsageError: no such column, or nobody at all.
        DataError: the file is empty, not there or not what its name says.
    """
    everybody = (user for domain in source for user in store.users(domain))
    users = sorted({*(everybody if given == ALL else _from_file(Path(given)))} - {""})
    if not users:
        raise UsageError(f"{given}: there are no users", hint="xdrec users list")
    return users


def _from_file(file: Path) -> Iterator[str]:
    rows, names = peek_columns(file, read_rows(file))
    lower = {name.casefold(): name for name in names}
    column = next((lower[name] for name in INTERACTION_COLUMNS["user"] if name in lower), names[0])
    if len(names) > 1 and column.casefold() not in INTERACTION_COLUMNS["user"]:
        raise UsageError(f"{file} has no column of users (it has: {', '.join(names)})", hint="name one of them user")
    for row in rows:
        if isinstance(row, RowProblem):
            raise UnreadableFile(f"{file}: {row.reason}", hint="a table with a column user")
        try:
            yield cell_text(row[1].get(column))
        except RefusedRow as exc:
            raise UnreadableFile(f"{file}: {exc}", hint="a table with a column user") from exc


def _hash(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()
