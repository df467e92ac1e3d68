"""Other people's systems. Reads and writes files by which they take part."""

from eval.exchange.import_run import ImportRequest, read_export

__all__ = ["ImportRequest", "read_export"]
