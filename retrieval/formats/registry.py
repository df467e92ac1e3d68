"""The formats by name. Reads the name of a format, or files, produces the `Reader` that fits them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from retrieval.errors import UnreadableFile, UsageError
from retrieval.formats.amazon import Amazon
from retrieval.formats.base import Reader
from retrieval.formats.exports import Douban, GoodreadsLibrary, Kindle, StoryGraph
from retrieval.formats.files import Files
from retrieval.formats.goodreads import Goodbooks, GoodreadsGraph
from retrieval.formats.letterboxd import Letterboxd
from retrieval.formats.movielens import MovieLens
from retrieval.tabular import ROW_READERS

GROUP: Final = "xdrec.readers"
"""Entry point group under which third parties register readers."""

_KNOWN: Final[tuple[Reader, ...]] = (
    MovieLens(),
    Amazon(),
    GoodreadsGraph(),
    Goodbooks(),
    GoodreadsLibrary(),
    Letterboxd(),
    Douban(),
    Kindle(),
    StoryGraph(),
)
READERS: Final[dict[str, Reader]] = {reader.name: reader for reader in _KNOWN}
"""The formats that come with XDRec; plain tables (`tabular.ROW_READERS`) are read beside them."""


def find_reader(name: str) -> Reader:
    """The reader of this name, ours or a third party's.

    Raises:
        UsageError: there is none, or that of a third party does not load.
    """
    if name in READERS:
        return READERS[name]
    plugins = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in plugins:
        known = ", ".join([*ROW_READERS, *READERS, *plugins])
        raise UsageError(f"{name!r} is not a format", hint=f"formats: {known}")
    try:
        reader = plugins[name].load()
    except (ImportError, AttributeError) as exc:
        msg = f"the reader {name!r} ({plugins[name].value}) does not load: {exc}"
        raise UsageError(msg, hint="reinstall the package that it comes with") from exc
    if not isinstance(reader, Reader):
        msg = f"{plugins[name].value} is not a reader: it lacks what `retrieval.formats.base.Reader` asks for"
        raise UsageError(msg, hint="tell those who made the package")
    return reader


def guess_reader(files: Files) -> Reader | None:
    """The one reader that recognises the files without doubt; None if none or several do.

    Raises:
        UnreadableFile: there is no such file, or it is a folder or ZIP that no reader or several recognise.
    """
    readers = [reader for reader in READERS.values() if files.sources and reader.recognises(files)]
    if len(readers) == 1:
        return readers[0]
    if not files.alone:
        which = " and ".join(reader.name for reader in readers) or "none"
        msg = f"{files.path}: the files do not tell the format ({which} would do)"
        raise UnreadableFile(msg, hint=f"name it: --format {'|'.join(READERS)}")
    return None
