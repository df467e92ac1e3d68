"""The agent: candidates, a history, templates and an LLM server in, explained recommendations out."""
