"""Facts: what filters and rules ask of items. Reads items, produces a columnar file of a snapshot."""

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


def write_facts(path: Path, items: Iterator[Item], text: Callable[[Item], str]) -> Iterator[str]:
    """Write the facts of the items, a row each; yields their texts as it goes, and has done all when it ends."""
    import pyarrow as pa

    schema = _schema()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        while page := list(islice(items, _BLOCK)):
            writer.write_table(pa.Table.from_pylist([_row(item) for item in page], schema=schema))
            yield from map(text, page)


def open_facts(path: Path) -> pa.Table:
    """What `write_facts` wrote, memory-mapped. Raises OSError, ValueError: it cannot be read."""
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def attribute_key(name: str, value: object) -> str:
    """How an attribute's value is written in the facts and compared by filters."""
    return f"{name}={value}".casefold()


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = pa.list_(pa.string())
    return pa.schema(
        {
            "id": pa.string(),
            "work": pa.string(),
            "series": pa.string(),
            "volume": pa.float64(),
            "year": pa.int64(),
            "language": pa.string(),
            "categories": texts,
            "creators": texts,
            "attributes": texts,
            "available": pa.bool_(),
        }
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
        "attributes": [attribute_key(k, v) for k, v in _tags(item)],
        "available": item.available,
    }


def _tags(item: Item) -> Iterator[tuple[str, object]]:
    for name, value in item.attributes.items():
        if isinstance(value, tuple):
            yield from ((name, v) for v in value)
        else:
            yield name, value
