"""What a batch is to do. Reads users (a file, or the store) and arguments, produces a `Job` and its partitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.errors import UnreadableFile, UsageError
from retrieval.store import Store
from retrieval.tabular import INTERACTION_COLUMNS
from retrieval.types import Frozen
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

ALL: Final = "all"
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


def read_users(given: str, store: Store, source: Sequence[str]) -> pa.Array:
    """The ids as a string array.

    Args:
        given: a .parquet or .csv file with a column of users (`user`, `user_id`, or the only one); "all": everybody
            with interactions in one of the source domains.

    Raises:
        UsageError: no such column, or nobody at all.
        UnreadableFile: the file is not there or not what its name says.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if given == ALL:
        found = pa.array([user for domain in source for user in store.users(domain)], pa.string())
    else:
        found = _from_file(Path(given))
    known = pc.unique(found.filter(pc.not_equal(pc.fill_null(found, ""), "")))
    users = known.take(pc.array_sort_indices(known))
    if not len(users):
        raise UsageError(f"{given}: there are no users", hint="xdrec users list")
    return users


def _from_file(file: Path) -> pa.Array:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if file.suffix == ".csv":
            with csv.open_csv(file) as reader:
                column = _column(file, reader.schema.names)
            # As text: an id "007" is no number.
            options = csv.ConvertOptions(include_columns=[column], column_types={column: pa.string()})
            table = csv.read_csv(file, convert_options=options)
        elif file.suffix in {".parquet", ".pq"}:
            column = _column(file, parquet.read_schema(file).names)
            table = parquet.read_table(file, columns=[column])
        else:
            raise UsageError(f"--users {file}", hint="a .parquet or .csv file, or the word all")
        return table[column].cast(pa.string()).combine_chunks()
    except (OSError, pa.ArrowException) as exc:
        raise UnreadableFile(f"{file}: {exc}", hint="a Parquet or CSV file with a column user") from exc


def _column(file: Path, names: Sequence[str]) -> str:
    lower = {name.casefold(): name for name in names}
    usual = [lower[name] for name in INTERACTION_COLUMNS["user"] if name in lower]
    if usual or len(names) == 1:
        return usual[0] if usual else names[0]
    raise UsageError(f"{file} has no column of users (it has: {', '.join(names)})", hint="name one of them user")


def _hash(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8) + content)
    return digest.hexdigest()
