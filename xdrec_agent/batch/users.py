"""Whom a batch is for. Reads a Parquet or CSV file, or the store, produces the users' ids, each once, in byte order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.errors import UnreadableFile, UsageError
from retrieval.store import Store
from retrieval.tabular import INTERACTION_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

ALL: Final = "all"


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
