"""The conversation. Reads a dialogue and what is said, produces the events of the reply.

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
from retrieval.types import History, Query
from xdrec_agent.converse.dialogues import MOST_TEXT, Dialogue, Dialogues, Turn, new_dialogue, save_likes
from xdrec_agent.converse.events import Asked, Done, Event, Explained, Ranked, Said, Understood
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.model_nlu import ask_model, completed
from xdrec_agent.converse.replies import asked, facts, noted, option_text, sentences, summary, titled
from xdrec_agent.converse.rules.reader import Reader
from xdrec_agent.converse.state import DialogueState, ItemRef, Language, Question
from xdrec_agent.converse.state_update import Step, merged, query_of
from xdrec_agent.converse.understanding import Remark, Understanding
from xdrec_agent.converse.why_not_questions import why_not
from xdrec_agent.errors import LLMError
from xdrec_agent.recommend import Recommender
from xdrec_agent.settings import ChatSettings
from xdrec_agent.types import Recommendation, Recommendations


class Conversation:
    """Replies to turns; one for all dialogues of a recommender.

    Args:
        dialogues: where dialogues are kept; None: nowhere.
        lexicon: the catalogues' words; None: read from the recommender's store.
    """

    def __init__(
        self,
        recommender: Recommender,
        dialogues: Dialogues | None,
        settings: ChatSettings,
        *,
        lexicon: Lexicon | None = None,
    ) -> None:
        self.recommender = recommender
        self.dialogues = dialogues
        self.settings = settings
        self.lexicon = lexicon or Lexicon(recommender.store)
        self.reader = Reader(self.lexicon)

    def start(
        self,
        *,
        sources: Sequence[str] = (),
        target: str | None = None,
        user: str | None = None,
        language: Language = "en",
    ) -> Dialogue:
        """A new dialogue, kept if there is a place for it.

        Raises:
            UsageError: a domain without items, or a source that is the target.
            StoreError: it cannot be kept.
        """
        known = self.lexicon.refresh()
        for domain in (*sources, *([target] if target else [])):
            if domain not in known:
                have = ", ".join(known) or "none yet"
                raise UsageError(f"there is no domain {domain!r} (domains: {have})", hint=f"xdrec ingest {domain} FILE")
        if target in sources:
            raise UsageError(f"{target!r} is both source and target", hint="name different domains in --from and --to")
        state = DialogueState(language=language, sources=tuple(sources), target=target)
        return self.dialogues.start(state, user) if self.dialogues else new_dialogue(state, user)

    async def reply(self, dialogue: Dialogue, text: str) -> AsyncGenerator[Event, None]:
        """The events of one reply; the dialogue after it is `self.dialogues.get(id)`, or the last `understood.state`.

        Raises:
            UsageError, SetupError, BackendError: from the recommender; never an LLMError.
            DialogueBusy: another turn has changed the dialogue meanwhile, in this process or another.
        """
        said, reason, reader = await self._understood(dialogue, text)
        domains = self.lexicon.names()
        step = merged(dialogue.state, said, domains)
        if step.state.target and step.state.target not in domains:  # its catalogue has gone
            step = Step(step.state.model_copy(update={"target": None, "question": Question(kind="target")}), "ask")
        turn = Turn(said=text[:MOST_TEXT], replied=self._replied(step)[:MOST_TEXT], at=int(time.time()))
        changes = {"state": step.state, "turns": (*dialogue.turns, turn)}
        dialogue = await self._kept(dialogue.model_copy(update=changes), dialogue.turns)
        yield Understood(
            dialogue=dialogue.id if self.dialogues else None,
            state=step.state,
            act=step.act,
            remarks=step.remarks,
            text=summary(step.state),
            reader="rules+model" if reader else "rules",
            degraded=reason is not None,
            reason=reason,
        )
        async with aclosing(self._acted(dialogue, step)) as events:
            async for event in events:
                yield event
        yield Done(dialogue=dialogue.id if self.dialogues else None)

    async def _understood(self, dialogue: Dialogue, text: str) -> tuple[Understanding, str | None, bool]:
        """What the turn says; why the model did not take part though it should have; whether it did."""
        said = await asyncio.to_thread(self.reader.read, text, dialogue.state)
        client, settings = self.recommender.rerank_context.client, self.settings
        if settings.model == "off" or (settings.model == "auto" and not _unclear(said)):
            return said, None, False
        if client is None:
            if settings.model == "auto":
                return said, None, False
            return _marked(said), self.recommender.no_client, False
        domains = self.lexicon.names()
        try:
            intent = await ask_model(
                client, text, dialogue.state, domains, user=dialogue.user, deadline_s=settings.deadline_s
            )
        except LLMError as exc:
            return _marked(said), str(exc), False
        except TimeoutError:
            return _marked(said), f"{client.endpoint.model} gave no answer within {settings.deadline_s:g} s", False
        full = await asyncio.to_thread(completed, said, intent, text, dialogue.state, self.lexicon, domains)
        return full, None, True

    async def _acted(self, dialogue: Dialogue, step: Step) -> AsyncGenerator[Event, None]:
        state = step.state
        for sentence in noted(step.remarks, state.language):
            yield Said(text=sentence)
        if step.act == "ask" and state.question is not None:
            options = tuple(option_text(option, state.language) for option in state.question.options)
            domains = self.lexicon.names()
            yield Asked(question=state.question, text=asked(state.question, state.language, domains), options=options)
        elif step.act == "rank":
            async with aclosing(self._ranked(dialogue)) as events:
                async for event in events:
                    yield event
        elif step.act in {"why", "why_not", "tell"}:
            async with aclosing(self._told(dialogue, step)) as events:
                async for event in events:
                    yield event
        elif step.act == "save":
            yield Said(text=await asyncio.to_thread(self._saved, dialogue))

    async def _ranked(self, dialogue: Dialogue) -> AsyncGenerator[Event, None]:
        query = await asyncio.to_thread(self._query, dialogue)
        if not (query.text or any(e.item.domain != query.target and e.liked for e in query.history.entries)):
            question = Question(kind="likes")
            yield Asked(question=question, text=asked(question, dialogue.state.language))
            return
        answer = await self.recommender.rank(query)
        shown = tuple(ItemRef.of(item.item) for item in answer.items)
        state = dialogue.state.model_copy(update={"shown": shown, "focus": ()})
        changes = {"state": state, "query": query, "answer": answer}
        dialogue = await self._kept(dialogue.model_copy(update=changes), dialogue.turns)
        yield Ranked(answer=answer)
        if not answer.items:
            yield Said(text=sentences(state.language).notes["nothing_left"])
            return
        async with aclosing(self.recommender.explain(query, answer, language=state.language)) as ready:
            async for item in ready:
                yield Explained(item=item)

    async def _told(self, dialogue: Dialogue, step: Step) -> AsyncGenerator[Event, None]:
        """What is known of the items that the turn asks about."""
        state, words = step.state, sentences(step.state.language)
        query = dialogue.query
        if query is None:
            query = await asyncio.to_thread(self._query, dialogue)
        for ref in step.about:
            item = self.lexicon.items(ref.domain, [ref.id]).get(ref.id)
            if item is None:
                continue
            if step.act == "tell":
                yield Said(text=facts(item, state.language))
            elif step.act == "why" and (found := _recommended(dialogue.answer, ref)):
                one = found[0].model_copy(update={"items": (found[1],)})
                async with aclosing(self.recommender.explain(query, one, language=state.language)) as ready:
                    async for explained in ready:
                        yield Explained(item=explained)
            elif step.act == "why_not":
                retriever, rules = self.recommender.retriever, self.recommender.exclusions
                yield Said(text=await asyncio.to_thread(why_not, item, dialogue, retriever, rules))
            else:
                yield Said(text=words.why_none.format(title=titled(ref, state.language)))

    def _query(self, dialogue: Dialogue) -> Query:
        past = None
        if dialogue.user is not None and dialogue.state.target is not None:
            try:
                past = self.recommender.store.history(dialogue.user, [*dialogue.state.sources, dialogue.state.target])
            except UsageError:  # somebody new: what is said here is all there is
                past = History(user=dialogue.user)
        return query_of(dialogue.state, self.lexicon, dialogue.user, past)

    def _saved(self, dialogue: Dialogue) -> str:
        words = sentences(dialogue.state.language)
        if dialogue.user is None:
            return words.not_saved
        count = save_likes(dialogue, self.recommender.store)
        return words.saved.format(count=count) if count else words.nothing_to_save

    def _replied(self, step: Step) -> str:
        """What is said at once, for those who take the dialogue up again."""
        state = step.state
        said = [summary(state), *noted(step.remarks, state.language)]
        if step.act == "ask" and state.question is not None:
            said.append(asked(state.question, state.language, self.lexicon.names()))
        return "\n".join(filter(None, said))

    async def _kept(self, dialogue: Dialogue, before: Sequence[Turn]) -> Dialogue:
        if self.dialogues is None:
            return dialogue
        return await asyncio.to_thread(self.dialogues.keep, dialogue, after=before)


def _recommended(answer: Recommendations | None, ref: ItemRef) -> tuple[Recommendations, Recommendation] | None:
    """The answer that holds an item, and its recommendation."""
    items = answer.items if answer else ()
    found = next((item for item in items if (item.item.domain, item.item.id) == ref.key), None)
    return (answer, found) if answer and found else None


def _unclear(said: Understanding) -> bool:
    """Whether the rules did not make sense of a turn, so that a model is worth the wait."""
    return bool(said.questions) or "off_topic" in said.notes() or said.empty


def _marked(said: Understanding) -> Understanding:
    return said.model_copy(update={"remarks": (*said.remarks, Remark(note="model_failed"))})
