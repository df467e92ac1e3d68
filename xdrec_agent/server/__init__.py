"""vLLM as a child process. Reads a model folder, produces a running server and the file that finds it."""

from xdrec_agent.server.command import MAX_LABELS

__all__ = ["MAX_LABELS"]
