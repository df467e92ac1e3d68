"""Other people's systems. Reads and writes files by which they take part."""

from eval.exchange.export import export
from eval.exchange.import_run import import_run, read_export

__all__ = ["export", "import_run", "read_export"]
