"""Layouts of data sets and of users' exports. Reads their files, produces tables of items and interactions."""

from retrieval.formats.base import (
    LeftOut,
    Parse,
    Reader,
    ReadRequest,
    Record,
    Table,
    TitledInteraction,
    Triple,
    scratch_database,
    scratch_errors,
    tables_of,
)
from retrieval.formats.files import Files
from retrieval.formats.registry import READERS, find_reader, guess_reader

__all__ = [
    "READERS", "Files", "LeftOut", "Parse", "ReadRequest", "Reader", "Record", "Table", "TitledInteraction",
    "Triple", "find_reader", "guess_reader", "scratch_database", "scratch_errors", "tables_of",
]  # fmt: skip
