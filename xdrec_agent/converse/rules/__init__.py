"""The rules of the conversation. Reads a turn and the grammar of its languages, produces its understanding."""

from xdrec_agent.converse.rules.nlu import RuleNLU

__all__ = ["RuleNLU"]
