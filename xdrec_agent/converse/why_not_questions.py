"""Questions about an answer. Reads a dialogue and an item, produces why the item is not in the list."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.ranking import Retriever
from retrieval.types import Item
from xdrec_agent.converse.dialogues import Dialogue
from xdrec_agent.converse.replies import sentences, titled
from xdrec_agent.recommend import LoggedAnswer
from xdrec_agent.settings import ExclusionSettings


def why_not(item: Item, dialogue: Dialogue, retriever: Retriever, exclusions: Sequence[ExclusionSettings] = ()) -> str:
    """Why the last answer does not have an item, in the dialogue's language.

    Raises:
        SetupError, BackendError: from the retriever.
    """
    from xdrec_agent import posthoc

    language = dialogue.state.language
    if dialogue.query is None or dialogue.answer is None:
        return sentences(language).notes["nothing_shown"]
    if item.domain != dialogue.query.target:
        title = titled(item, language)
        return sentences(language).why_not_other.format(title=title, target=dialogue.query.target)
    kept = LoggedAnswer(
        id=dialogue.answer.id or dialogue.id,
        user=dialogue.user,
        created_at=dialogue.updated_at,
        arm="",
        query=dialogue.query,
        answer=dialogue.answer,
    )
    return posthoc.why_not(retriever, kept, item.id, posthoc.load_posthoc_locale(language), exclusions).text
