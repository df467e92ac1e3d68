"""The service of `xdrec serve`: recommendations, reasons and conversation over HTTP."""

from xdrec_agent.service.arms import arm_of
from xdrec_agent.service.http_process import run
from xdrec_agent.service.mcp_process import run_http, run_stdio

__all__ = ["arm_of", "run", "run_http", "run_stdio"]
