"""The conversation. Reads a dialogue and what the user says, produces the events of the reply.

    async with open_recommender(settings) as recommender:
        conversation = Conversation(recommender, dialogues, settings.chat)
        dialogue = conversation.start(source="films", target="books")
        async with aclosing(conversation.reply(dialogue, "I loved Alien")) as events:
            async for event in events: …

The rules read every turn; a model may complete them. Reasons follow the ranking. Closing the iteration gives up what a
model still works on, and what was understood is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from retrieval.errors import UsageError
from retrieval.types import History, Item, Query
from xdrec_agent.converse.dialogues import MOST_TEXT, Dialogue, Dialogues, Turn, new_dialogue, save_likes
from xdrec_agent.converse.events import Asked, Done, Event, Explained, Ranked, Said, Understood
from xdrec_agent.converse.language import DEFAULT_LANGUAGE, known_language
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.model_nlu import ask_for_slots, complete_understanding
from xdrec_agent.converse.replies import (
    chat_sentences,
    item_facts,
    option_text,
    question_sentence,
    quoted_title,
    remark_sentences,
    summary,
)
from xdrec_agent.converse.rules import RuleNLU
from xdrec_agent.converse.state import ClarifyingQuestion, DialogueState, ItemRef
from xdrec_agent.converse.state_update import DialogueDecision, query_of, update_state
from xdrec_agent.converse.understanding import NLU, Remark, Understanding
from xdrec_agent.errors import LLMError
from xdrec_agent.recommend import LoggedAnswer, Recommender
from xdrec_agent.settings import ChatSettings
from xdrec_agent.types import Recommendations


class Conversation:
    """Replies to turns; one for all dialogues of a recommender.

    Args:
        dialogues: where dialogues are kept; None: nowhere.
        lexicon: the catalogues' words; None: read from the recommender's store.
        nlu: reads every turn; None: the rules.
    """

    def __init__(
        self,
        recommender: Recommender,
        dialogues: Dialogues | None,
        settings: ChatSettings,
        *,
        lexicon: Lexicon | None = None,
        nlu: NLU | None = None,
    ) -> None:
        self.recommender = recommender
        self.dialogues = dialogues
        self.settings = settings
        self.lexicon = lexicon or Lexicon(recommender.store)
        self.nlu = nlu or RuleNLU(self.lexicon)

    def start(
        self,
        *,
        sources: Sequence[str] = (),
        target: str | None = None,
        user: str | None = None,
        language: str = DEFAULT_LANGUAGE,
    ) -> Dialogue:
        """A new dialogue, kept if there is a place for it.

        Raises:
            UsageError: a domain without items, a source that is the target, or a language without a folder.
            StoreError: it cannot be kept.
        """
        known = self.lexicon.refresh()
        for domain in (*sources, *([target] if target else [])):
            if domain not in known:
                have = ", ".join(known) or "none yet"
                raise UsageError(f"there is no domain {domain!r} (domains: {have})", hint=f"xdrec ingest {domain} FILE")
        if target in sources:
            raise UsageError(f"{target!r} is both source and target", hint="name different domains in --from and --to")
        state = DialogueState(language=known_language(language), sources=tuple(sources), target=target)
        return self.dialogues.start(state, user) if self.dialogues else new_dialogue(state, user)

    async def reply(self, dialogue: Dialogue, text: str) -> AsyncGenerator[Event, None]:
        """The events of one reply; the dialogue after it is `self.dialogues.get(id)`, or the last `understood.state`.

        Raises:
            UsageError, SetupError, BackendError: from the recommender; never an LLMError.
            DialogueBusy: another turn has changed the dialogue meanwhile, in this process or another.
        """
        understanding, failure, has_model = await self._understood(dialogue, text)
        domains = self.lexicon.names()
        decision = update_state(dialogue.state, understanding, domains)
        if decision.state.target and decision.state.target not in domains:  # its catalogue has gone
            no_target = {"target": None, "question": ClarifyingQuestion(kind="target")}
            decision = DialogueDecision(decision.state.model_copy(update=no_target), "ask")
        turn = Turn(said=text[:MOST_TEXT], replied=self._at_once(decision)[:MOST_TEXT], at=int(time.time()))
        changes = {"state": decision.state, "turns": (*dialogue.turns, turn)}
        dialogue = await self._kept(dialogue.model_copy(update=changes), dialogue.turns)
        yield Understood(
            dialogue=dialogue.id if self.dialogues else None,
            state=decision.state,
            act=decision.act,
            remarks=decision.remarks,
            text=summary(decision.state),
            nlu="rules+model" if has_model else "rules",
            degraded=failure is not None,
            reason=failure,
        )
        async with aclosing(self._acted(dialogue, decision)) as events:
            async for event in events:
                yield event
        yield Done(dialogue=dialogue.id if self.dialogues else None)

    async def _understood(self, dialogue: Dialogue, text: str) -> tuple[Understanding, str | None, bool]:
        """What the turn says; why the model did not take part though it should have; whether it did."""
        state, settings, client = dialogue.state, self.settings, self.recommender.rerank_context.client
        read = await asyncio.to_thread(self.nlu.understand, text, state)
        if settings.model == "off" or (settings.model == "auto" and (client is None or not _is_unclear(read))):
            return read, None, False
        if client is None:
            return _without_model(read), self.recommender.no_client, False
        domains, deadline_s = self.lexicon.names(), settings.deadline_s
        try:
            slots = await ask_for_slots(client, text, state, domains, user=dialogue.user, deadline_s=deadline_s)
        except LLMError as exc:
            return _without_model(read), str(exc), False
        except TimeoutError:
            return _without_model(read), f"{client.endpoint.model} gave no answer within {deadline_s:g} s", False
        return await asyncio.to_thread(complete_understanding, read, slots, text, state, self.lexicon), None, True

    async def _acted(self, dialogue: Dialogue, decision: DialogueDecision) -> AsyncGenerator[Event, None]:
        state = decision.state
        for sentence in remark_sentences(decision.remarks, state.language):
            yield Said(text=sentence)
        if decision.act == "ask" and state.question is not None:
            yield self._asked(state.question, state.language)
        elif decision.act in {"rank", "why", "why_not", "tell"}:
            told = self._ranked(dialogue) if decision.act == "rank" else self._answered(dialogue, decision)
            async with aclosing(told) as events:
                async for event in events:
                    yield event
        elif decision.act == "save":
            yield Said(text=await asyncio.to_thread(self._saved, dialogue))

    def _asked(self, question: ClarifyingQuestion, language: str) -> Asked:
        options = tuple(option_text(option, language) for option in question.options)
        return Asked(
            question=question, text=question_sentence(question, language, self.lexicon.names()), options=options
        )

    async def _ranked(self, dialogue: Dialogue) -> AsyncGenerator[Event, None]:
        query = await asyncio.to_thread(self._query, dialogue)
        if not (query.text or any(e.item.domain != query.target and e.liked for e in query.history.entries)):
            yield self._asked(ClarifyingQuestion(kind="likes"), dialogue.state.language)
            return
        answer = await self.recommender.rank(query)
        shown = tuple(ItemRef.of(item.item) for item in answer.items)
        state = dialogue.state.model_copy(update={"shown": shown, "focus": ()})
        changes = {"state": state, "query": query, "answer": answer}
        dialogue = await self._kept(dialogue.model_copy(update=changes), dialogue.turns)
        yield Ranked(answer=answer)
        if not answer.items:
            yield Said(text=chat_sentences(state.language).notes["nothing_left"])
            return
        async with aclosing(self.recommender.explain(query, answer, language=state.language)) as ready:
            async for item in ready:
                yield Explained(item=item)

    async def _answered(self, dialogue: Dialogue, decision: DialogueDecision) -> AsyncGenerator[Event, None]:
        """What is known of the items that the turn asks about."""
        language = decision.state.language
        query = dialogue.query
        if query is None:
            query = await asyncio.to_thread(self._query, dialogue)
        for ref in decision.about:
            item = self.lexicon.items(ref.domain, [ref.id]).get(ref.id)
            if item is None:
                continue
            if decision.act == "tell":
                yield Said(text=item_facts(item, language))
            elif decision.act == "why_not":
                yield Said(text=await asyncio.to_thread(self._why_not, item, dialogue))
            elif answer := _only(dialogue.answer, ref):
                async with aclosing(self.recommender.explain(query, answer, language=language)) as ready:
                    async for explained in ready:
                        yield Explained(item=explained)
            else:
                yield Said(text=chat_sentences(language).why_none.format(title=quoted_title(ref, language)))

    def _why_not(self, item: Item, dialogue: Dialogue) -> str:
        """Why the last answer does not have an item. Raises SetupError, BackendError."""
        from xdrec_agent import posthoc

        language, sentences = dialogue.state.language, chat_sentences(dialogue.state.language)
        if dialogue.query is None or dialogue.answer is None:
            return sentences.notes["nothing_shown"]
        if item.domain != dialogue.query.target:
            return sentences.why_not_other.format(title=quoted_title(item, language), target=dialogue.query.target)
        kept = LoggedAnswer(
            id=dialogue.answer.id or dialogue.id,
            user=dialogue.user,
            created_at=dialogue.updated_at,
            arm="",
            query=dialogue.query,
            answer=dialogue.answer,
        )
        retriever, exclusions = self.recommender.retriever, self.recommender.exclusions
        return posthoc.why_not(retriever, kept, item.id, posthoc.load_posthoc_locale(language), exclusions).text

    def _query(self, dialogue: Dialogue) -> Query:
        past = None
        if dialogue.user is not None and dialogue.state.target is not None:
            try:
                past = self.recommender.store.history(dialogue.user, [*dialogue.state.sources, dialogue.state.target])
            except UsageError:  # a new user: what they say here is all there is
                past = History(user=dialogue.user)
        return query_of(dialogue.state, self.lexicon, dialogue.user, past)

    def _saved(self, dialogue: Dialogue) -> str:
        sentences = chat_sentences(dialogue.state.language)
        if dialogue.user is None:
            return sentences.not_saved
        count = save_likes(dialogue, self.recommender.store)
        return sentences.saved.format(count=count) if count else sentences.nothing_to_save

    def _at_once(self, decision: DialogueDecision) -> str:
        """What is said before anything is ranked, for those who take the dialogue up again."""
        state = decision.state
        said = [summary(state), *remark_sentences(decision.remarks, state.language)]
        if decision.act == "ask" and state.question is not None:
            said.append(question_sentence(state.question, state.language, self.lexicon.names()))
        return "\n".join(filter(None, said))

    async def _kept(self, dialogue: Dialogue, before: Sequence[Turn]) -> Dialogue:
        if self.dialogues is None:
            return dialogue
        return await asyncio.to_thread(self.dialogues.keep, dialogue, after=before)


def _only(answer: Recommendations | None, ref: ItemRef) -> Recommendations | None:
    """The answer with one of its items alone; None: it does not hold it."""
    items = tuple(one for one in answer.items if (one.item.domain, one.item.id) == ref.key) if answer else ()
    return answer.model_copy(update={"items": items[:1]}) if answer and items else None


def _is_unclear(understanding: Understanding) -> bool:
    """Whether the rules did not make sense of a turn, so that a model is worth the wait."""
    return bool(understanding.questions) or "off_topic" in understanding.notes() or understanding.empty


def _without_model(understanding: Understanding) -> Understanding:
    """The understanding with the remark that the model did not take part."""
    return understanding.model_copy(update={"remarks": (*understanding.remarks, Remark(note="model_failed"))})
