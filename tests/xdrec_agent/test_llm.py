"""Promises of the LLM client, tested against a fake at the transport."""

from __future__ import annotations

import asyncio
import inspect
import math
import subprocess
import sys

import fake_llm
import httpx2
import openai
import pytest
from fake_llm import FakeLLM
from pydantic import BaseModel

from xdrec_agent.errors import LLMError, LLMOverloaded, LLMRefused, LLMReplyInvalid, LLMTimeout, LLMUnreachable
from xdrec_agent.llm import LLMClient, Usage
from xdrec_agent.llm import translation as llm_errors
from xdrec_agent.settings import LLMSettings

ASK = [{"role": "user", "content": "Which?"}]


class Pick(BaseModel):
    title: str


class Naps:
    """Stands in for asyncio.sleep: remembers how long it should have slept."""

    def __init__(self):
        self.taken = []

    async def __call__(self, seconds):
        self.taken.append(seconds)


def connect(fake, naps=None, endpoint=None, **settings):
    return LLMClient(
        endpoint or fake.endpoint(),
        LLMSettings(**settings),
        http_client=fake.http_client(),
        sleep=naps or Naps(),
    )


def every_subclass(root):
    for sub in root.__subclasses__():
        yield sub
        yield from every_subclass(sub)


async def test_chat_returns_the_text_and_what_it_cost():
    """A plain answer comes back unchanged with the server's own token counts."""
    fake = FakeLLM(text=lambda body: "Dune")
    async with connect(fake) as client:
        reply = await client.chat(ASK, max_tokens=8, temperature=0.5, seed=3)
    assert reply.text == "Dune"
    assert reply.complete
    assert (reply.usage.requests, reply.usage.retries) == (1, 0)
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens) == (15, 7)
    assert reply.usage.completion_tokens == 4
    assert fake.calls == [{"model": "fake", "messages": ASK, "max_tokens": 8, "temperature": 0.5, "seed": 3}]


async def test_every_request_carries_the_key():
    """The endpoint's key authorises all requests, those outside /v1 too."""
    fake = FakeLLM()
    async with connect(fake) as client:
        await client.label_logprobs(ASK, ["A"])
    assert {headers["authorization"] for headers in fake.headers} == {"Bearer secret"}
    assert "/tokenize" in fake.paths


async def test_label_logprobs_are_exact_and_complete():
    """Every label has the log-probability the server gave its token, the improbable ones too."""
    truth = {"A": -0.5, "B": -1.25, "Q": -4.0}
    fake = FakeLLM(labels=lambda body: truth)
    async with connect(fake) as client:
        logprobs, usage = await client.label_logprobs(ASK, ["B", "A", "Z"])
    assert logprobs == {"B": -1.25, "A": -0.5, "Z": -20.0}
    assert usage.requests == 1
    assert fake.calls[-1]["logprob_token_ids"] == [ord("B"), ord("A"), ord("Z")]
    assert fake.calls[-1]["max_tokens"] == 1


async def test_label_of_two_tokens_is_refused_by_name():
    """A label that the tokenizer splits cannot be scored; the error names it."""
    fake = FakeLLM()
    async with connect(fake) as client:
        with pytest.raises(LLMRefused, match="'10'"):
            await client.label_logprobs(ASK, ["A", "10"])


async def test_label_ids_are_asked_once(tmp_path):
    """What was learnt of an endpoint is kept: a second process needs the one request that counts."""
    first, second = FakeLLM(labels=lambda body: {"A": -1.0}), FakeLLM()
    notes = tmp_path / "notes.json"
    async with connect(first, endpoint=first.endpoint(notes=notes)) as client:
        await client.label_logprobs(ASK, ["A", "B"])
    async with connect(second, endpoint=second.endpoint(notes=notes)) as client:
        await client.label_logprobs(ASK, ["A", "B"])
    assert second.paths == ["/v1/chat/completions"]


async def test_top_logprobs_mark_absent_labels():
    """Where only the most probable tokens are reported, an absent label is -inf and not some invented number."""
    fake = FakeLLM(vllm=False, labels=lambda body: {"A": -0.5, "x": -1.0})
    async with connect(fake) as client:
        logprobs, _ = await client.label_logprobs(ASK, ["A", "B"])
    assert logprobs == {"A": -0.5, "B": -math.inf}


async def test_top_logprobs_without_any_label_are_invalid():
    """If none of the labels is among the most probable tokens the answer says nothing about them."""
    fake = FakeLLM(vllm=False, labels=lambda body: {"x": -0.5})
    async with connect(fake) as client:
        with pytest.raises(LLMReplyInvalid, match="A, B"):
            await client.label_logprobs(ASK, ["A", "B"])


@pytest.mark.parametrize(
    "behaviour",
    [
        fake_llm.without_logprobs,
        fake_llm.truncated,
        fake_llm.says(b"\xff\xfe<html>"),
        fake_llm.says("{}"),
        fake_llm.says("null"),
        fake_llm.of_model("other"),
        fake_llm.of_model("fake-mini"),
        fake_llm.spoiled(lambda reply: reply.update(choices=[])),
        fake_llm.spoiled(lambda reply: top(reply).pop()),
        fake_llm.spoiled(lambda reply: top(reply)[0].update(logprob=math.nan)),
        fake_llm.spoiled(lambda reply: top(reply)[0].update(logprob=None)),
        fake_llm.spoiled(lambda reply: top(reply)[0].update(logprob=7.0)),
        fake_llm.spoiled(lambda reply: top(reply)[1].update(token="B")),
    ],
)
async def test_unusable_log_probabilities_are_an_error(behaviour):
    """A reply that lacks a label's log-probability, or is not one at all, never becomes a ranking."""
    fake = FakeLLM()
    async with connect(fake, attempts=2) as client:
        await client.label_logprobs(ASK, ["A", "B"])
        fake.then(behaviour, behaviour)
        with pytest.raises(LLMReplyInvalid):
            await client.label_logprobs(ASK, ["A", "B"])


def top(reply):
    return reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]


async def test_a_dated_alias_is_the_same_model():
    """Endpoints answer under the dated name of an alias; that is no other model."""
    fake = FakeLLM()
    fake.then(fake_llm.of_model("fake-2026-01-31"))
    async with connect(fake) as client:
        assert (await client.chat(ASK, max_tokens=8)).text == "Hello there"


async def test_structured_returns_a_validated_object():
    """The schema goes to the server and its answer comes back as that type."""
    fake = FakeLLM(text=lambda body: '{"title": "Dune"}')
    async with connect(fake) as client:
        pick, usage = await client.structured(ASK, Pick, max_tokens=20)
    assert pick == Pick(title="Dune")
    assert usage.requests == 1
    assert fake.calls[0]["response_format"]["json_schema"]["schema"] == Pick.model_json_schema()


@pytest.mark.parametrize("text", ["Dune", '{"name": "Dune"}', '{"title": "Du', ""])
async def test_structured_refuses_anything_else(text):
    """An answer that is no such object is an error, and is not asked for again: it would come again."""
    fake = FakeLLM(text=lambda body: text)
    async with connect(fake) as client:
        with pytest.raises(LLMReplyInvalid):
            await client.structured(ASK, Pick, max_tokens=20)
    assert len(fake.calls) == 1


async def test_structured_refuses_what_was_cut_off():
    """An object that ended at max_tokens may have lost its end even if it parses."""
    fake = FakeLLM(text=lambda body: '{"title": "Dune"}')
    fake.then(fake_llm.spoiled(lambda reply: reply["choices"][0].update(finish_reason="length")))
    async with connect(fake) as client:
        with pytest.raises(LLMReplyInvalid, match="cut off after 5 tokens"):
            await client.structured(ASK, Pick, max_tokens=5)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (fake_llm.status(429), LLMOverloaded),
        (fake_llm.status(500), LLMOverloaded),
        (fake_llm.status(503), LLMOverloaded),
        (fake_llm.status(408), LLMTimeout),
        (fake_llm.raises(httpx2.ConnectError("refused")), LLMUnreachable),
        (fake_llm.raises(httpx2.ReadError("reset")), LLMUnreachable),
        (fake_llm.raises(httpx2.RemoteProtocolError("closed")), LLMUnreachable),
        (fake_llm.raises(httpx2.ReadTimeout("slow")), LLMTimeout),
        (fake_llm.truncated, LLMReplyInvalid),
    ],
)
async def test_passing_trouble_is_tried_again(behaviour, error):
    """What may pass is tried `attempts` times, then raised; if it passes before, nobody notices but the usage."""
    fake, naps = FakeLLM(), Naps()
    async with connect(fake, naps, attempts=3) as client:
        fake.then(behaviour, behaviour)
        reply = await client.chat(ASK, max_tokens=8)
        assert (reply.usage.requests, reply.usage.retries) == (3, 2)
        assert len(naps.taken) == 2
        fake.then(behaviour, behaviour, behaviour)
        with pytest.raises(error) as raised:
            await client.chat(ASK, max_tokens=8)
    assert raised.value.retryable
    assert raised.value.hint
    assert len(fake.calls) == 6


@pytest.mark.parametrize("code", [307, 400, 401, 403, 404, 409, 413, 422, 501])
async def test_a_refusal_is_final(code):
    """What the server will refuse again is asked once; a redirect is not followed to who knows where."""
    fake = FakeLLM()
    fake.then(fake_llm.status(code, location="http://elsewhere.example/v1/chat/completions"))
    async with connect(fake) as client:
        with pytest.raises(LLMRefused, match=str(code)) as raised:
            await client.chat(ASK, max_tokens=8)
    assert len(fake.calls) == 1
    assert not raised.value.retryable
    assert raised.value.hint


async def test_retry_after_is_honoured():
    """The server says how long to wait, and is not asked earlier."""
    fake, naps = FakeLLM(), Naps()
    fake.then(fake_llm.status(429, retry_after="7"))
    async with connect(fake, naps) as client:
        await client.chat(ASK, max_tokens=8)
    assert naps.taken == [7.0]


async def test_retry_after_beyond_the_deadline_is_not_waited_for():
    """If the server wants more time than is left the call fails at once, saying that it is overloaded."""
    fake, naps = FakeLLM(), Naps()
    fake.then(fake_llm.status(429, retry_after="61"))
    async with connect(fake, naps, timeout_s=60) as client:
        with pytest.raises(LLMOverloaded):
            await client.chat(ASK, max_tokens=8)
    assert naps.taken == []


async def test_the_deadline_ends_a_call():
    """A server that never answers costs `timeout_s`, however many attempts are allowed, and is then let go."""
    fake, hangs = FakeLLM(), fake_llm.Hangs()
    fake.then(hangs)
    async with connect(fake, timeout_s=0.05, attempts=5) as client:
        with pytest.raises(LLMTimeout, match=r"0\.05 s"):
            await client.chat(ASK, max_tokens=8)
    assert hangs.cancelled.is_set()
    assert len(fake.calls) == 1


async def test_cancelling_a_call_cancels_its_request():
    """Nobody computes an answer that nobody waits for, and the next call finds its place free."""
    fake, hangs = FakeLLM(), fake_llm.Hangs()
    fake.then(hangs)
    async with connect(fake, concurrency=1) as client:
        call = asyncio.create_task(client.chat(ASK, max_tokens=8))
        await hangs.begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert hangs.cancelled.is_set()
        assert (await client.chat(ASK, max_tokens=8)).text == "Hello there"


async def test_no_more_requests_at_once_than_allowed():
    """`concurrency` bounds the requests under way, and all calls are answered."""
    running, most = 0, 0

    async def count(fake, body):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return fake_llm.answer(fake, body)

    fake = FakeLLM()
    fake.then(*[count] * 10)
    async with connect(fake, concurrency=3) as client:
        replies = await asyncio.gather(*(client.chat(ASK, max_tokens=8) for _ in range(10)))
    assert len(replies) == 10
    assert 1 < most <= 3


async def test_entering_is_required():
    """A client that was not entered says so instead of failing oddly."""
    with pytest.raises(RuntimeError, match="async with"):
        await connect(FakeLLM()).chat(ASK, max_tokens=8)


@pytest.mark.parametrize("root", [openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError])
def test_every_foreign_exception_is_mapped(root):
    """No exception of openai or httpx2 reaches a caller; a new one in a new version fails here."""
    own = root.__module__.split(".")[0]  # huggingface_hub has subclasses of its own
    kinds = [kind for kind in (root, *every_subclass(root)) if kind.__module__.split(".")[0] == own]
    unmapped = [kind.__name__ for kind in kinds if not llm_errors.kind_of(kind)]
    assert unmapped == []


def test_every_exception_module_of_httpx2_is_caught():
    """All public exception classes of httpx2 are among those that a request translates."""
    public = [kind for _, kind in inspect.getmembers(httpx2, inspect.isclass) if issubclass(kind, Exception)]
    errors = [kind for kind in public if not issubclass(kind, Warning)]
    assert errors
    assert [kind.__name__ for kind in errors if not issubclass(kind, llm_errors.FOREIGN)] == []


def test_translation_keeps_the_reason():
    """The message names the endpoint and what went wrong underneath."""
    request = httpx2.Request("POST", "http://127.0.0.1:9/v1")
    foreign = openai.APIConnectionError(request=request)
    foreign.__cause__ = httpx2.ConnectError("[Errno 111] Connection refused")
    error = llm_errors.translate(foreign, "http://127.0.0.1:9/v1")
    assert isinstance(error, LLMError)
    assert str(error) == "http://127.0.0.1:9/v1: [Errno 111] Connection refused"


def test_usage_adds_up():
    """Adding usages adds every count."""
    one = Usage(requests=1, prompt_tokens=2, cached_tokens=3, completion_tokens=4, seconds=0.5, retries=6)
    assert one + one == Usage(
        requests=2, prompt_tokens=4, cached_tokens=6, completion_tokens=8, seconds=1.0, retries=12
    )
    assert one + Usage() == one


def test_importing_the_client_does_not_import_openai():
    """Commands that never ask the model do not pay for openai's import."""
    code = "import sys, xdrec_agent.llm.client; sys.exit('openai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
