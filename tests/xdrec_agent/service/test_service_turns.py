"""Promises of turns that come at the same time: none is lost, none undoes another, and too many are refused."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx2
import openai
import pytest
from fake_llm import FakeLLM
from service_kit import events_of, fake_client, opener, settings_at

from xdrec_agent.converse import Turn
from xdrec_agent.errors import DialogueBusy
from xdrec_agent.service.app import create_app
from xdrec_agent.service.limits import MOST_WAITING, DialogueLocks
from xdrec_agent.settings import ChatSettings


class Slow:
    """A model that answers nothing until `release` is set; `begun` is set when it is asked."""

    def __init__(self):
        self.begun, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, _fake, _body):
        self.begun.set()
        await self.release.wait()
        return httpx2.Response(500)


@asynccontextmanager
async def talking(home, slow=None):
    """The application and a client of it; the model reads every turn, and the first one as `slow` does."""
    fake = FakeLLM()
    if slow:
        fake.then(slow)
    settings = settings_at(home).model_copy(update={"chat": ChatSettings(model="always" if slow else "off")})
    app = create_app(settings, opener(fake_client(fake)[1]))
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        yield app.state.xdrec, http


def begun(state, user=None):
    """The id of a new dialogue."""
    return state.conversation("").start(sources=("films",), target="books", user=user).id


async def waiting(state, dialogue, count):
    """Return when so many turns of the dialogue run or wait: nobody is told of that."""
    while state.dialogue_locks.queued(dialogue) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_two_turns_at_once_both_count(home):
    """The second one waits for the first and goes on from what that has understood."""
    slow = Slow()
    async with talking(home, slow) as (state, http):
        id_ = begun(state)
        texts = ("I loved Space films 1", "I loved War films 1", "nothing before 1993")
        replies = [asyncio.create_task(http.post("/v1/chat", json={"dialogue": id_, "text": t})) for t in texts]
        await slow.begun.wait()
        await waiting(state, id_, len(texts))
        slow.release.set()
        got = [await reply for reply in replies]
        assert [reply.status_code for reply in got] == [200] * len(texts)
        assert all(events_of(reply.text)[-1] == ("done", {"type": "done", "dialogue": id_}) for reply in got)
        kept = state.dialogues.get(id_)
    assert {turn.said for turn in kept.turns} == set(texts)
    assert {opinion.item.id for opinion in kept.state.likes} == {"space-1", "war-1"}
    assert kept.state.filter.year_from == 1993


async def test_too_many_at_once_are_told_to_wait(home):
    """A 409 with a hint and when to come again, before anything is done; other dialogues are not concerned."""
    slow = Slow()
    async with talking(home, slow) as (state, http):
        id_, other = begun(state), begun(state)
        ask = {"dialogue": id_, "text": "I loved Space films 1"}
        replies = [asyncio.create_task(http.post("/v1/chat", json=ask)) for _ in range(1 + MOST_WAITING)]
        await slow.begun.wait()
        await waiting(state, id_, 1 + MOST_WAITING)
        refused = await http.post("/v1/chat", json=ask)
        assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")
        assert (refused.json()["type"], refused.json()["retryable"]) == ("urn:xdrec:dialogue-busy", True)
        assert refused.json()["hint"]
        assert int(refused.headers["retry-after"]) > 0
        assert (await http.post("/v1/chat", json=ask | {"dialogue": other})).status_code == 200
        slow.release.set()
        assert [(await reply).status_code for reply in replies] == [200] * (1 + MOST_WAITING)
        assert len(state.dialogues.get(id_).turns) == 1 + MOST_WAITING
        assert state.dialogue_locks.queued(id_) == 0


async def test_another_process_cannot_be_overwritten(home):
    """What it has understood meanwhile stays, and the turn that came too late says so."""
    slow = Slow()
    async with talking(home, slow) as (state, http):
        id_ = begun(state)
        reply = asyncio.create_task(http.post("/v1/chat", json={"dialogue": id_, "text": "I loved Space films 1"}))
        await slow.begun.wait()
        read = state.dialogues.get(id_)
        turns = (Turn(said="from elsewhere", at=1),)
        state.dialogues.keep(read.model_copy(update={"turns": turns}), after=())
        slow.release.set()
        assert (await reply).status_code == 409
        assert state.dialogues.get(id_).turns == turns


async def test_a_turn_whose_client_has_gone_makes_room():
    """A place in the line is free again when its owner gives up, and nothing is left of an empty line."""
    locks, entered = DialogueLocks(), asyncio.Event()

    async def take():
        async with locks.turn("d"):
            entered.set()
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(take()) for _ in range(1 + MOST_WAITING)]
    await entered.wait()
    with pytest.raises(DialogueBusy):
        await take()
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert locks.queued("d") == 0
    async with locks.turn("d"):
        assert locks.queued("d") == 1


def user(text):
    return {"role": "user", "content": text}


ASKED = user("I loved Space films 1 and Space films 2. Which books should I read?")


async def test_a_history_that_branches_is_two_conversations(home):
    """A client that goes back and says something else gets an answer to that alone, at once or afterwards."""
    async with talking(home) as (_, http):
        client = openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="none", http_client=http, max_retries=0)

        async def say(*messages):
            reply = await client.chat.completions.create(model="xdrec", messages=list(messages))
            return reply.choices[0].message.content

        history = [ASKED, {"role": "assistant", "content": await say(ASKED)}]
        late, early = await asyncio.gather(
            say(*history, user("nothing before 1994")), say(*history, user("nothing after 1991"))
        )
        again = await say(*history, user("nothing before 1993"))
    years = [{int(line.partition("(")[2][:4]) for line in text.splitlines() if " books " in line and "(" in line
              and line[:1].isdigit() and " — " not in line} for text in (late, early, again)]  # fmt: skip
    assert years[0] == {1994}
    assert years[1] == {1991}
    assert years[2] == {1993, 1994}
