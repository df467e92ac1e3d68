"""Promises of the response cache, alone and behind the client: a run can be replayed, and a person forgotten."""

from __future__ import annotations

import multiprocessing
import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import fake_llm
import pytest
from fake_llm import FakeLLM
from pydantic import BaseModel

from retrieval.errors import BackendError
from xdrec_agent.app import personal_data
from xdrec_agent.errors import CacheMiss, LLMError, LLMReplyInvalid
from xdrec_agent.llm import LLMClient, Origin, ResponseCache, resolve_endpoint
from xdrec_agent.settings import LLMSettings, Settings

ASK = [{"role": "user", "content": "Which?"}]
ADA = Origin(template="t1", user="ada")
SIZE = 2**26


class Pick(BaseModel):
    title: str


class Boom:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (self.mark.touch, ())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "responses"


@pytest.fixture
def cache(folder):
    with ResponseCache(folder, SIZE) as cache:
        yield cache


def write(folder, who):
    """As a process of its own: fifty replies."""
    with ResponseCache(folder, SIZE) as cache:
        for number in range(50):
            cache.put(f"{who} {number}", f"{who}".encode(), who)


def connect(fake, cache, **settings):
    return LLMClient(fake.endpoint(), LLMSettings(attempts=1, **settings), cache=cache, http_client=fake.http_client())


def test_what_was_put_is_found(folder, cache):
    """By its key, by others who open the folder, until it is replaced."""
    assert cache.get("k") is None
    cache.put("k", b"old", None)
    cache.put("k", b"new", None)
    with ResponseCache(folder, SIZE) as other:
        assert other.get("k") == b"new"
    assert len(cache) == 1


def test_its_size_is_bounded(folder):
    """The oldest replies go; the newest stays."""
    size = 2**20
    with ResponseCache(folder, size) as cache:
        for number in range(200):
            cache.put(str(number), bytes(50_000), None)
        assert cache.bytes <= 1.2 * size
        assert cache.get("0") is None
        assert cache.get("199") == bytes(50_000)


def test_two_processes_write_at_once(folder, cache):
    """Nothing is lost and nothing fails."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(folder, who)) for who in ("ada", "bob")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(cache) == 100


def test_two_threads_write_at_once(folder, cache):
    """Two open caches of one folder do not hinder each other."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, [folder, folder], ["ada", "bob"]))
    assert len(list(cache.of_user("bob"))) == 50


def test_deleting_a_person_leaves_the_others(cache):
    """All of theirs goes; a user whose name begins the same, and nobody's, stays."""
    for key, user in [("1", "ada"), ("2", "ada"), ("3", "ada2"), ("4", None)]:
        cache.put(key, b"{}", user)
    assert dict(cache.of_user("ada")) == {"1": b"{}", "2": b"{}"}
    assert cache.delete_user("ada") == 2
    assert [cache.get(key) for key in "1234"] == [None, None, b"{}", b"{}"]
    assert cache.clear() == 2


@pytest.mark.parametrize("planted", ["value", "key"])
def test_a_planted_pickle_is_refused(tmp_path, folder, planted):
    """What others put into the folder is never unpickled, wherever it stands."""
    mark = tmp_path / "mark"
    with ResponseCache(folder, SIZE) as cache:
        cache.put("k", b"{}", "ada")
    change = {"value": "UPDATE Cache SET mode = 4, value = ?", "key": "UPDATE Cache SET raw = 0, key = ?"}[planted]
    database = sqlite3.connect(folder / "cache.db")
    with database:
        database.execute(change, (pickle.dumps(Boom(mark)),))
    database.close()
    with ResponseCache(folder, SIZE) as cache, pytest.raises(BackendError, match="never wrote") as raised:
        list(cache.of_user("ada"))
    assert raised.value.hint
    assert not mark.exists()


@pytest.mark.parametrize("spoil", ["file", "garbage"])
def test_a_folder_that_cannot_be_used_is_an_error_with_a_way_out(folder, spoil):
    """A file in its place and a damaged database say how to go on without the cache."""
    if spoil == "file":
        folder.write_text("no folder")
    else:
        folder.mkdir()
        (folder / "cache.db").write_bytes(b"no database" * 500)
    with pytest.raises(BackendError) as raised:
        ResponseCache(folder, SIZE)
    assert "llm.cache" in raised.value.hint


async def test_the_same_request_is_answered_without_a_request(cache):
    """The second answer is the first one's, and costs a hit instead of requests and tokens."""
    fake = FakeLLM(text=lambda body: "Dune")
    async with connect(fake, cache) as client:
        first = await client.chat(ASK, max_tokens=8, origin=ADA)
        second = await client.chat(ASK, max_tokens=8, origin=ADA)
    assert first.text == second.text == "Dune"
    assert (first.usage.requests, first.usage.cache_hits) == (1, 0)
    assert (second.usage.requests, second.usage.cache_hits, second.usage.prompt_tokens) == (0, 1, 15)
    assert len(fake.calls) == 1


async def test_log_probabilities_are_kept_too(cache):
    """Labels are scored from the cache with the same numbers."""
    fake = FakeLLM(labels=lambda body: {"A": -0.5, "B": -1.0})
    async with connect(fake, cache) as client:
        first, _ = await client.label_logprobs(ASK, ["A", "B"], origin=ADA)
        second, usage = await client.label_logprobs(ASK, ["A", "B"], origin=ADA)
    assert first == second == {"A": -0.5, "B": -1.0}
    assert (usage.requests, usage.cache_hits) == (0, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": Origin(template="t2", user="ada")},
        {"messages": [{"role": "user", "content": "Which"}]},
        {"max_tokens": 9},
        {"seed": 0},
        {"json_schema": Pick},
    ],
)
async def test_anything_else_is_another_request(cache, change):
    """Another template, text or parameter is never answered with what was said to this one."""
    options = {"messages": ASK, "max_tokens": 8, "origin": ADA}
    async with connect(FakeLLM(), cache) as client:
        await client.chat(**options)
        usage = (await client.chat(**options | change)).usage
    assert (usage.requests, usage.cache_hits) == (1, 0)


async def test_another_model_is_another_request(cache):
    """What one model said is not another one's answer."""
    for name in ("one", "two"):
        fake = FakeLLM(model=name, text=lambda body: body["model"])
        async with connect(fake, cache) as client:
            assert (await client.chat(ASK, max_tokens=8, origin=ADA)).text == name


async def test_what_must_not_be_kept_is_not(cache):
    """Calls without an origin, and sampling, which is meant to differ each time."""
    fake = FakeLLM()
    async with connect(fake, cache) as client:
        for _ in range(2):
            await client.chat(ASK, max_tokens=8)
            await client.chat(ASK, max_tokens=8, temperature=1.0, origin=ADA)
    assert len(fake.calls) == 4
    assert len(cache) == 0


@pytest.mark.parametrize("seed", [0, 1])
async def test_sampling_with_a_seed_is_kept(cache, seed):
    """It is the same each time; 0 is a seed like any other."""
    fake = FakeLLM()
    async with connect(fake, cache) as client:
        for _ in range(2):
            await client.chat(ASK, max_tokens=8, temperature=1.0, seed=seed, origin=ADA)
    assert len(fake.calls) == 1


@pytest.mark.parametrize("behaviour", [fake_llm.truncated, fake_llm.of_model("other"), fake_llm.status(500)])
async def test_failures_are_not_kept(cache, behaviour):
    """What was no answer is asked again, and the answer then kept."""
    fake = FakeLLM()
    fake.then(behaviour)
    async with connect(fake, cache) as client:
        with pytest.raises(LLMError):
            await client.chat(ASK, max_tokens=8, origin=ADA)
        assert len(cache) == 0
        assert (await client.chat(ASK, max_tokens=8, origin=ADA)).usage.requests == 1
    assert len(cache) == 1


async def test_log_probabilities_that_lack_one_are_not_kept(cache):
    """A reply is judged by what was asked of it, not by whether it parses."""
    fake = FakeLLM()
    async with connect(fake, cache) as client:
        await client.label_logprobs(ASK, ["A"])
        kept = len(cache)
        fake.then(fake_llm.without_logprobs)
        with pytest.raises(LLMReplyInvalid):
            await client.label_logprobs(ASK, ["A"], origin=ADA)
    assert len(cache) == kept


async def test_a_kept_reply_that_does_not_parse_any_more_is_asked_again(cache):
    """A cache of an older version, or a damaged one, costs a request and breaks nothing."""
    fake = FakeLLM()
    async with connect(fake, cache) as client:
        await client.chat(ASK, max_tokens=8, origin=ADA)
        ((key, _),) = cache.of_user("ada")
        cache.put(key, b'{"model": "fake"}', "ada")
        assert (await client.chat(ASK, max_tokens=8, origin=ADA)).usage.requests == 1
        assert (await client.chat(ASK, max_tokens=8, origin=ADA)).usage.cache_hits == 1


async def replay(folder, **changes):
    """What the cache alone says to a question with labels, and its usage; there is no server."""
    settings = Settings(home=folder.parent, llm=LLMSettings(cache="only", model="fake"))
    options = {"messages": ASK, "labels": ["A", "B"], "origin": ADA} | changes
    with ResponseCache(folder, SIZE, only=True) as cache:
        async with LLMClient(resolve_endpoint(settings), settings.llm, cache=cache) as client:
            return await client.label_logprobs(**options)


async def test_a_run_is_replayed_without_a_server(folder):
    """Capabilities, label ids and answers come from the cache; a miss fails, and is no failure of the model."""
    fake = FakeLLM(labels=lambda body: {"A": -0.5, "B": -1.0})
    with ResponseCache(folder, SIZE) as cache:
        async with connect(fake, cache) as client:
            asked, _ = await client.label_logprobs(ASK, ["A", "B"], origin=ADA)
    replayed, usage = await replay(folder)
    assert replayed == asked
    assert (usage.requests, usage.cache_hits) == (0, 1)
    for miss in (
        {"origin": Origin(template="t2")},
        {"labels": ["C"]},
        {"messages": [{"role": "user", "content": "Else?"}]},
        {"origin": None},
    ):
        with pytest.raises(CacheMiss, match="lacks a reply of fake") as raised:
            await replay(folder, **miss)
        assert "llm.cache = on" in raised.value.hint
        assert not isinstance(raised.value, LLMError)


async def test_a_replay_of_nothing_is_a_miss(folder):
    """An empty cache says so at the first question, what the model can do."""
    with pytest.raises(CacheMiss):
        await replay(folder)


async def test_a_person_is_exported_and_forgotten(folder):
    """`xdrec users export` shows the replies kept for a person, `delete` leaves only other people's."""
    settings = Settings(home=folder.parent)
    with ResponseCache(settings.responses_dir, SIZE) as cache:
        async with connect(FakeLLM(), cache) as client:
            for user in ("ada", "bob"):
                messages = [{"role": "user", "content": user}]
                await client.chat(messages, max_tokens=8, origin=Origin(template="t1", user=user))
    (record,) = personal_data.export_user(settings, "ada")["llm_replies"]
    assert record["reply"]["model"] == "fake"
    assert personal_data.delete_user(settings, "ada")["llm_replies"] == 1
    with ResponseCache(settings.responses_dir, SIZE) as cache:
        assert (list(cache.of_user("ada")), len(list(cache.of_user("bob")))) == ([], 1)
