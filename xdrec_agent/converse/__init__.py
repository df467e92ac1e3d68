"""Conversation. Reads what a person says, produces a state, a ranking and its reasons, turn by turn."""

from xdrec_agent.converse.conversation import Conversation
from xdrec_agent.converse.dialogues import Dialogue, Dialogues, DialogueSummary
from xdrec_agent.converse.events import Asked, Done, Event, Explained, Ranked, Said, Understood
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.model_nlu import ask_model, completed
from xdrec_agent.converse.replies import noted
from xdrec_agent.converse.state import DialogueState, ItemRef, Language, Opinion
from xdrec_agent.converse.state_update import Step, merged
from xdrec_agent.converse.understanding import Remark, Understanding

__all__ = [
    "Asked",
    "Conversation",
    "Dialogue",
    "DialogueState",
    "DialogueSummary",
    "Dialogues",
    "Done",
    "Event",
    "Explained",
    "ItemRef",
    "Language",
    "Lexicon",
    "Opinion",
    "Ranked",
    "Remark",
    "Said",
    "Step",
    "Understanding",
    "Understood",
    "ask_model",
    "completed",
    "merged",
    "noted",
]
