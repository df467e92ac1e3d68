"""Other people's systems. Reads and writes files by which they take part."""

from eval.exchange.import_run import Rankings, exported

__all__ = ["Rankings", "exported"]
