"""One client for every endpoint. Reads messages, produces text, validated objects or log-probabilities."""

from xdrec_agent.llm.client import LLMClient, Messages, Reply, Usage
from xdrec_agent.llm.concurrency import gathered
from xdrec_agent.llm.disk_cache import disk_errors, open_disk_cache
from xdrec_agent.llm.endpoint import Capabilities, Endpoint, load_notes, resolve_endpoint
from xdrec_agent.llm.response_cache import Origin, ResponseCache
from xdrec_agent.llm.transport import Logprob
from xdrec_agent.llm.yes_no_log_odds import NO, YES, log_odds

__all__ = [
    "NO", "YES", "Capabilities", "Endpoint", "LLMClient", "Logprob", "Messages", "Origin", "Reply", "ResponseCache",
    "Usage", "disk_errors", "gathered", "load_notes", "log_odds", "open_disk_cache", "resolve_endpoint",
]  # fmt: skip
