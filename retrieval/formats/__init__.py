"""Layouts of data sets and of people's exports. Reads their files, produces tables and mentions of works."""

from retrieval.formats.base import LeftOut, Mention, Reader, Record, Request, Table
from retrieval.formats.files import Files
from retrieval.formats.registry import find_reader, guess_reader

__all__ = ["Files", "LeftOut", "Mention", "Reader", "Record", "Request", "Table", "find_reader", "guess_reader"]
