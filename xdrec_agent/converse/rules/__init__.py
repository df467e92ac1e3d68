"""The rule NLU. Reads one turn, produces what it changes; needs no model."""

from xdrec_agent.converse.rules.reader import Reader

__all__ = ["Reader"]
