"""Item metadata for filters and rules. Reads items, produces a columnar file of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.types import Item

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK: Final = 16_384
"""Items in memory at a time."""


def write_metadata(path: Path, items: Iterator[Item], text: Callable[[Item], str]) -> Iterator[str]:
    """Write the metadata, one row per item; yields the items' texts as it goes. The file is whole when it ends."""
    import pyarrow as pa

    schema = _schema()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        while page := list(islice(items, _BLOCK)):
            writer.write_table(pa.Table.from_pylist([_row(item) for item in page], schema=schema))
            yield from map(text, page)


def open_metadata(path: Path) -> pa.Table:
    """What `write_metadata` wrote, memory-mapped. Raises OSError, ValueError: it cannot be read."""
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def attribute_key(name: str, value: object) -> str:
    """How the metadata hold an attribute's value, and how filters compare it."""
    return f"{name}={value}".casefold()


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    single = {"id": text, "work": text, "series": text, "volume": pa.float64(), "year": pa.int64(), "language": text}
    return pa.schema(
        single | dict.fromkeys(("categories", "creators", "attributes"), texts) | {"available": pa.bool_()}
    )


def _row(item: Item) -> dict[str, object]:
    """Texts that filters compare are folded to lower case."""
    return {
        "id": item.id,
        "work": item.edition_of or item.id,
        "series": item.series,
        "volume": item.volume,
        "year": item.year,
        "language": item.language.casefold() if item.language else None,
        "categories": [c.casefold() for c in item.categories],
        "creators": [c.casefold() for c in item.creators],
        "attributes": [
            attribute_key(name, value)
            for name, values in item.attributes.items()
            for value in (values if isinstance(values, tuple) else (values,))
        ],
        "available": item.available,
    }
