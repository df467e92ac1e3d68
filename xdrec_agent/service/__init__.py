"""The service of `xdrec serve` and `xdrec mcp`. Reads requests over HTTP or MCP, produces explained answers."""

from xdrec_agent.service.app_state import keys_required
from xdrec_agent.service.process import run, run_mcp_http, run_mcp_stdio

__all__ = ["keys_required", "run", "run_mcp_http", "run_mcp_stdio"]
