"""Conversation. Reads what the user says, produces a state, a ranking and its reasons, turn by turn."""

from xdrec_agent.converse.conversation import Conversation
from xdrec_agent.converse.dialogues import Dialogue, Dialogues, DialogueSummary, Turn
from xdrec_agent.converse.events import Asked, Done, Event, Explained, Ranked, Said, Understood
from xdrec_agent.converse.language import DEFAULT_LANGUAGE, Language, chat_languages, known_language
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.model_nlu import ask_for_slots, complete_understanding
from xdrec_agent.converse.replies import remark_sentences
from xdrec_agent.converse.rules import RuleNLU
from xdrec_agent.converse.state import DialogueState, ItemRef, Opinion
from xdrec_agent.converse.state_update import DialogueDecision, update_state
from xdrec_agent.converse.understanding import NLU, Remark, Understanding

__all__ = [
    "DEFAULT_LANGUAGE", "NLU", "Asked", "Conversation", "Dialogue", "DialogueDecision", "DialogueState",
    "DialogueSummary", "Dialogues", "Done", "Event", "Explained", "ItemRef", "Language", "Lexicon", "Opinion",
    "Ranked", "Remark", "RuleNLU", "Said", "Turn", "Understanding", "Understood", "ask_for_slots", "chat_languages",
    "complete_understanding", "known_language", "remark_sentences", "update_state",
]  # fmt: skip
