"""Batches on Ray. Reads users, produces recommendations for all of them in a folder of Parquet files."""

from xdrec_agent.batch.encoding import spread_over
from xdrec_agent.batch.folder import ResultFolder
from xdrec_agent.batch.plan import Request
from xdrec_agent.batch.runner import Progress, run_batch

__all__ = ["Progress", "Request", "ResultFolder", "run_batch", "spread_over"]
