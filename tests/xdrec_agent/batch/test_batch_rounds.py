"""Rounds with a stage: what comes out is what a server's answers would have made."""

from __future__ import annotations

import asyncio
import json
import zlib

import pytest
from fake_llm import FakeLLM
from word_encoder import WordEncoder

from retrieval.encoder import SentenceEncoder
from retrieval.errors import UsageError
from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item
from xdrec_agent.app import make_recommender
from xdrec_agent.batch import Request
from xdrec_agent.batch.offline_llm_client import OfflineReply, OfflineRequest
from xdrec_agent.batch.offline_llm_rounds import CollectRequests, check_stage, engine_row, reply_of, waves
from xdrec_agent.batch.plan import make_job
from xdrec_agent.batch.stages import PreparedUser, Retrieve, offline_client, open_retrieval, parts_table, row_for
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import LLMSettings, load_settings

USERS = ["ada", "bob", "nobody"]


@pytest.fixture
def settings(tmp_path):
    """Settings of a small store with its index; the encoder has weights that nothing loads."""
    model, home = tmp_path / "words", tmp_path / "home"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"words")
    items = [
        Item(domain=d, id=f"{d}{n}", title=f"{d} {n}", categories=("x",)) for d in ("film", "book") for n in range(6)
    ]
    with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store:
        store.upsert_items(items, "run")
        likes = [("ada", "film1"), ("ada", "film2"), ("bob", "film3")]
        store.upsert_interactions([Interaction(user=u, domain="film", item=i, value=5) for u, i in likes], "run")
        encoder = WordEncoder(SentenceEncoder("words", model).fingerprint)
        with Index(home / "index", encoder, load_template("item"), IndexSettings()) as index:
            for domain in ("film", "book"):
                index.build(store, domain)
    return load_settings(
        home=home,
        encoder={"model": str(model)},
        llm={"model": "fake", "cache": "off"},
        rerank={"strategy": "listwise-logprob", "max_shuffles": 6},
    )


def opinion(body):
    """A model that likes some titles more, in each prompt the same ones."""
    said = json.dumps(body["messages"])
    return {label: -1.0 - zlib.crc32(f"{label}{said}".encode()) % 100 / 10 for label in "ABCDEFGHIJ"}


def retrieved(settings):
    job = make_job(settings, Request("all", ("film",), "book", 3, "out", 3), [])
    return Retrieve(settings, job)(parts_table([("part", USERS)]))


async def answered_by(client, settings, prepared, explain=True):
    """A row for each user, as the stage makes them with a client."""
    recommender = make_recommender(settings, open_retrieval(settings)[1], client)
    turn = asyncio.Semaphore(2)
    return [await row_for(user, recommender, "", turn, explain=explain) for user in prepared]


async def answered_by_server(settings, prepared):
    fake = FakeLLM(labels=opinion, text=lambda body: '{"facts": [], "text": "Nice."}')
    async with LLMClient(fake.endpoint(), LLMSettings(model="fake"), http_client=fake.http_client()) as client:
        return await answered_by(client, settings, prepared)


async def replies_to(wanted):
    """What a stage would give."""
    fake = FakeLLM(labels=opinion, text=lambda body: '{"facts": [], "text": "Nice."}')
    async with LLMClient(fake.endpoint(), LLMSettings(model="fake"), http_client=fake.http_client()) as client:
        found = {}
        for row in wanted:
            one = OfflineRequest.model_validate_json(row["request_json"])
            messages = [{"role": role, "content": content} for role, content in one.messages]
            if one.labels:
                logprobs, usage = await client.label_logprobs(messages, one.labels)
                reply = OfflineReply(logprobs=logprobs, prompt_tokens=usage.prompt_tokens, completion_tokens=1)
            else:
                said = await client.chat(messages, max_tokens=one.max_tokens)
                reply = OfflineReply(text=said.text, prompt_tokens=said.usage.prompt_tokens)
            found[row["key"]] = reply.model_dump_json()
        return found


async def test_rounds_end_where_a_server_would_have(settings):
    """Order, reasons and marks are the same as with a server; each round asks what the last one's answers lead to."""
    parts = retrieved(settings)
    prepared = [PreparedUser.model_validate_json(one) for one in parts["prepared"][0].as_py()]
    expected = await answered_by_server(settings, prepared)

    replies, rounds = {}, []
    while wanted := (await _collected(settings, parts, replies)):
        assert not {row["key"] for row in wanted} & replies.keys()
        rounds.append(len(wanted))
        replies |= await replies_to(wanted)
    rows = await answered_by(offline_client(settings, {"part": replies}, "part"), settings, prepared)

    assert len(rounds) > 2
    assert [[(i.id, i.text, i.written) for i in row.items] for row in rows] == [
        [(i.id, i.text, i.written) for i in row.items] for row in expected
    ]
    assert [(row.user, row.source, row.degraded) for row in rows] == [
        (row.user, row.source, row.degraded) for row in expected
    ]
    assert rows[2].reason == "user 'nobody' has no interactions"
    assert not rows[2].items


async def _collected(settings, parts, replies):
    """As `CollectRequests` does, on a thread without an event loop."""
    table = await asyncio.to_thread(CollectRequests(settings, True, {"part": replies}), parts)
    return table.to_pylist()


async def test_what_the_stage_could_not_give_is_degraded(settings):
    """A user whose replies are missing at the end has the retriever's order, marked with the reason."""
    prepared = [PreparedUser.model_validate_json(one) for one in retrieved(settings)["prepared"][0].as_py()]
    rows = await answered_by(offline_client(settings, {}, "part"), settings, prepared, explain=False)
    assert [row.degraded for row in rows] == [True, True, False]
    assert rows[0].reason == "fake gave no log-probabilities"
    assert len(rows[0].items) == 3


def test_the_engine_is_given_tokens_and_its_reply_read_by_them():
    """Labels go in as token ids and come out as log-probabilities, also where a table made names of the ids."""
    wanted = OfflineRequest(messages=(("user", "Which?"),), labels=("A", "B"))
    row = engine_row(wanted, {"A": 7, "B": 9, "C": 11})
    assert row["sampling_params"]["logprob_token_ids"] == [7, 9]
    assert row["messages"] == [{"role": "user", "content": "Which?"}]
    said = {"7": {"logprob": -1.5, "rank": 2}, "9": {"logprob": -0.5, "rank": 1}, "11": None}
    reply = reply_of(
        {
            "request_json": wanted.model_dump_json(),
            "logprobs": [said],
            "generated_text": "B",
            "num_generated_tokens": 1,
            "num_input_tokens": 12,
        },
        {"A": 7, "B": 9, "C": 11},
    )
    assert OfflineReply.model_validate_json(reply).logprobs == {"A": -1.5, "B": -0.5}


def test_what_the_stage_cannot_judge_is_refused(settings):
    """Pointwise judging scores items at a server; it is refused before anything is begun."""
    check_stage(settings)
    pointwise = settings.rerank.model_copy(update={"strategy": "pointwise-logprob"})
    with pytest.raises(UsageError, match="needs a server"):
        check_stage(settings.model_copy(update={"rerank": pointwise}))


def test_waves_take_all_parts_in_order():
    """Each wave has as many users as it may, and every part is in one."""
    sizes = [3, 3, 3, 10, 1]
    assert [sizes[wave] for wave in waves(sizes, 6)] == [[3, 3], [3, 10], [1]]
    assert not list(waves([]))
