"""Promises of several servers that share the load, one fake a server behind one transport."""

from __future__ import annotations

import asyncio

import fake_llm
import httpx2
import pytest
from fake_llm import FakeLLM

from xdrec_agent.errors import LLMLeftOut, LLMOverloaded, LLMRefused
from xdrec_agent.llm import LLMClient
from xdrec_agent.llm.replicas import FAILURES, Replica, Replicas
from xdrec_agent.settings import LLMSettings

ASK = [{"role": "user", "content": "Which?"}]
AT_ONCE = 1e-9
NEVER = 3600


async def no_nap(_seconds):
    """Retries at once."""


def connect(*fakes, recovery_s=NEVER, **settings):
    """A client of servers at the ports 1, 2, …"""

    async def handle(request):
        return await fakes[request.url.port - 1].handle(request)

    urls = ",".join(f"http://127.0.0.1:{port}/v1" for port in range(1, len(fakes) + 1))
    return LLMClient(
        fakes[0].endpoint(base_url=urls),
        LLMSettings(recovery_s=recovery_s, **settings),
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(handle)),
        sleep=no_nap,
    )


def ask(client):
    return client.chat(ASK, max_tokens=8)


def fails(fake, times=FAILURES):
    fake.then(*[fake_llm.status(500)] * times)


async def make_ill(client, *fakes):
    """Fail until all are left out; each failure is a call of its own."""
    for fake in fakes:
        fails(fake)
    for _ in range(FAILURES * len(fakes)):
        with pytest.raises(LLMOverloaded):
            await ask(client)


class Waits:
    """Answers once `go` is set."""

    def __init__(self, then=fake_llm.answer):
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self._then = then

    async def __call__(self, fake, body):
        self.begun.set()
        await self.go.wait()
        return self._then(fake, body)


async def test_the_load_is_shared():
    """Requests at the same time are spread evenly over the servers."""
    fakes = FakeLLM(), FakeLLM(), FakeLLM()
    waits = [Waits() for _ in range(9)]
    for number, behaviour in enumerate(waits):
        fakes[number % 3].then(behaviour)
    async with connect(*fakes) as client:
        calls = [asyncio.create_task(ask(client)) for _ in waits]
        await asyncio.gather(*(behaviour.begun.wait() for behaviour in waits))
        assert [len(fake.calls) for fake in fakes] == [3, 3, 3]
        for behaviour in waits:
            behaviour.go.set()
        await asyncio.gather(*calls)


async def test_paths_outside_v1_go_to_the_server_that_was_chosen():
    """vLLM's own routes are asked at the servers' roots, never at the list of their addresses."""
    fakes = FakeLLM(labels=lambda body: {"A": -1.0}), FakeLLM(labels=lambda body: {"A": -1.0})
    async with connect(*fakes) as client:
        await client.label_logprobs(ASK, ["A"])
    assert "/tokenize" in {*fakes[0].paths, *fakes[1].paths}


async def test_a_failed_attempt_is_made_again_elsewhere():
    """The caller gets the other server's answer; the usage shows the second attempt."""
    ill, well = FakeLLM(), FakeLLM(text=lambda body: "well")
    fails(ill, 1)
    async with connect(ill, well, attempts=2) as client:
        reply = await ask(client)
    assert (reply.text, reply.usage.requests) == ("well", 2)
    assert (len(ill.calls), len(well.calls)) == (1, 1)


@pytest.mark.parametrize(
    "behaviour",
    [
        fake_llm.status(429),
        fake_llm.status(500),
        fake_llm.truncated,
        fake_llm.of_model("other"),
        fake_llm.raises(httpx2.ConnectError("refused")),
    ],
)
async def test_an_ill_server_is_left_out(behaviour):
    """After `FAILURES` failures in a row it gets no more requests, and nobody's answer suffers."""
    ill, well = FakeLLM(), FakeLLM()
    ill.then(*[behaviour] * 50)
    async with connect(ill, well, attempts=2) as client:
        for _ in range(20):
            assert (await ask(client)).text == "Hello there"
    assert len(ill.calls) == FAILURES
    assert len(well.calls) == 20


async def test_failures_must_be_in_a_row():
    """A server that answers in between is well."""
    fake = FakeLLM()
    async with connect(fake, attempts=1) as client:
        for _ in range(3):
            fails(fake, FAILURES - 1)
            for _ in range(FAILURES - 1):
                with pytest.raises(LLMOverloaded):
                    await ask(client)
            await ask(client)


async def test_where_all_are_left_out_a_call_fails_at_once():
    """No server is asked, nothing is retried, and the error names them and a next command."""
    fakes = FakeLLM(), FakeLLM()
    async with connect(*fakes, attempts=1) as client:
        await make_ill(client, *fakes)
        asked = [len(fake.calls) for fake in fakes]
        with pytest.raises(LLMLeftOut, match=r"127\.0\.0\.1:1/v1, http://127\.0\.0\.1:2/v1") as raised:
            await ask(client)
    assert [len(fake.calls) for fake in fakes] == asked == [FAILURES, FAILURES]
    assert not raised.value.retryable
    assert raised.value.hint


async def test_after_the_pause_one_request_alone_tries_it():
    """While a trial is under way nobody else is sent to a server that may still be ill; its answer lets all in."""
    fake, trial = FakeLLM(), Waits()
    async with connect(fake, attempts=1, recovery_s=AT_ONCE) as client:
        await make_ill(client, fake)
        fake.then(trial)
        first = asyncio.create_task(ask(client))
        await trial.begun.wait()
        with pytest.raises(LLMLeftOut):
            await ask(client)
        trial.go.set()
        await first
        replies = await asyncio.gather(*(ask(client) for _ in range(4)))
    assert len(replies) == 4
    assert len(fake.calls) == FAILURES + 5


def test_a_failed_trial_starts_the_pause_again():
    """One failure is enough for a server that was ill."""
    replica = Replica("http://127.0.0.1:1/v1", client=None, recovery_s=AT_ONCE)
    replicas = Replicas([replica])
    for _ in range(FAILURES):
        with pytest.raises(LLMOverloaded), replicas.one(()):
            raise LLMOverloaded("500")
    replica.recovery_s = NEVER
    with pytest.raises(LLMOverloaded), replicas.one(()):
        raise LLMOverloaded("500")
    with pytest.raises(LLMLeftOut), replicas.one(()):
        pass


async def test_a_recovered_server_comes_back_while_others_are_well():
    """An ill server is tried again though another could answer, and shares the load from then on."""
    ill, well = FakeLLM(), FakeLLM()
    fails(ill)
    async with connect(ill, well, attempts=2, recovery_s=AT_ONCE) as client:
        for _ in range(20):
            await ask(client)
    assert len(ill.calls) > FAILURES + 1


async def test_a_refusal_is_no_illness():
    """A server that refuses what cannot be answered stays in use."""
    fake = FakeLLM()
    fake.then(*[fake_llm.status(400)] * FAILURES * 2)
    async with connect(fake) as client:
        for _ in range(FAILURES * 2):
            with pytest.raises(LLMRefused):
                await ask(client)
        await ask(client)


async def cancelled(client, fake):
    """A call that is given up while the server works on it."""
    hangs = fake_llm.Hangs()
    fake.then(hangs)
    call = asyncio.create_task(ask(client))
    await hangs.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_cancelled_request_is_no_illness():
    """Callers who go away say nothing about the server."""
    fake = FakeLLM()
    async with connect(fake) as client:
        for _ in range(FAILURES * 2):
            await cancelled(client, fake)
        assert (await ask(client)).text == "Hello there"


async def test_a_cancelled_request_is_no_sign_of_health():
    """One failure cancels the requests beside it: that must not wipe out the failure."""
    fake = FakeLLM()
    async with connect(fake, attempts=1) as client:
        for _ in range(FAILURES):
            await cancelled(client, fake)
            fails(fake, 1)
            with pytest.raises(LLMOverloaded):
                await ask(client)
        with pytest.raises(LLMLeftOut):
            await ask(client)


def test_a_cancelled_trial_lets_others_try():
    """The server is not shut out for the trial's sake, and not taken for well: one failure leaves it out again."""
    replica = Replica("http://127.0.0.1:1/v1", client=None, recovery_s=AT_ONCE)
    replicas = Replicas([replica])
    for _ in range(FAILURES):
        with pytest.raises(LLMOverloaded), replicas.one(()):
            raise LLMOverloaded("500")
    with pytest.raises(asyncio.CancelledError), replicas.one(()):
        raise asyncio.CancelledError
    replica.recovery_s = NEVER
    with pytest.raises(LLMOverloaded), replicas.one(()):
        raise LLMOverloaded("500")
    with pytest.raises(LLMLeftOut), replicas.one(()):
        pass
