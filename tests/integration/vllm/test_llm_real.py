"""Promises of the LLM client and server that only a real vLLM can keep."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import string

import pytest
from pydantic import BaseModel, Field

from xdrec_agent.errors import LLMRefused, LLMUnreachable, ServerNotRunning
from xdrec_agent.llm import LLMClient, resolve_endpoint
from xdrec_agent.llm.probe import probe
from xdrec_agent.llm.transport import ChatCompletion
from xdrec_agent.server import lifecycle as server
from xdrec_agent.server import processes

pytestmark = pytest.mark.integration

LABELS = string.ascii_uppercase[:20]


class Pick(BaseModel):
    label: str = Field(pattern="^[A-T]$")
    sure: bool


def ask(topic, items=20):
    lines = "\n".join(f"[{label}] The {topic} book number {n}" for n, label in enumerate(LABELS[:items]))
    return [{"role": "user", "content": f"Which of these would you read?\n{lines}"}]


@pytest.fixture
async def client(vllm_server):
    async with LLMClient(resolve_endpoint(vllm_server), vllm_server.llm) as client:
        yield client


async def test_probe_sees_everything(client):
    """Our own server can do all that is asked for."""
    seen = await probe(client.wire)
    assert seen.exact_label_logprobs
    assert seen.structured_output
    assert seen.tokenize
    assert seen.generative_scoring
    assert seen.top_logprobs == 128
    assert seen.max_model_len == 4096
    assert seen.server_version


async def test_label_logprobs_are_exact_and_complete(client):
    """All labels are there, and those among the 20 most probable tokens have the log-probability told there."""
    messages = ask("blue")
    await client.label_logprobs(messages, LABELS)
    logprobs, usage = await client.label_logprobs(messages, LABELS)
    body = {
        "model": client.endpoint.model,
        "messages": messages,
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    reply = (await client.wire.post("chat/completions", body, ChatCompletion.model_validate_json)).reply
    top = {t.token: t.logprob for t in reply.choices[0].logprobs.content[0].top_logprobs}
    shared = [label for label in LABELS if label in top]
    assert len(shared) >= 5
    assert {label: logprobs[label] for label in shared} == pytest.approx(
        {label: top[label] for label in shared}, abs=1e-3
    )
    assert list(logprobs) == list(LABELS)
    assert sum(math.exp(value) for value in logprobs.values()) <= 1 + 1e-3
    assert usage.completion_tokens == 1


async def test_the_order_of_labels_does_not_matter(client):
    """A label's log-probability does not depend on which labels are asked for beside it."""
    messages = ask("green")
    await client.label_logprobs(messages, LABELS)
    forward, _ = await client.label_logprobs(messages, LABELS)
    backward, _ = await client.label_logprobs(messages, LABELS[::-1][:7])
    assert backward == pytest.approx({label: forward[label] for label in backward}, abs=1e-3)


async def test_shared_prompts_come_from_the_cache(client):
    """The second request with the same beginning reports cached tokens."""
    messages = ask("cached")
    await client.label_logprobs(messages, LABELS)
    _, usage = await client.label_logprobs(messages, LABELS)
    assert usage.prompt_tokens - 64 <= usage.cached_tokens < usage.prompt_tokens


async def test_labels_of_several_tokens_are_refused(client):
    """The model's own tokenizer decides what a label may be."""
    with pytest.raises(LLMRefused, match="banana split"):
        await client.label_logprobs(ask("x"), ["A", "banana split"])


async def test_structured_output_has_the_shape(client):
    """Even a model this small keeps to the schema."""
    pick, usage = await client.structured(ask("red", 5), Pick, max_tokens=40)
    assert pick.label in LABELS
    assert usage.completion_tokens > 1


async def test_refusals_of_the_server(client, vllm_server):
    """A prompt that is too long, a wrong key and an unknown model are refused, each with a hint."""
    with pytest.raises(LLMRefused, match="4096"):
        await client.chat([{"role": "user", "content": "word " * 5000}], max_tokens=1)
    for change in ({"key": "wrong"}, {"model": "unknown"}):
        endpoint = client.endpoint.model_copy(update=change)
        async with LLMClient(endpoint, vllm_server.llm) as other:
            with pytest.raises(LLMRefused) as raised:
                await other.chat(ask("x"), max_tokens=1)
        assert raised.value.hint


@pytest.mark.last
async def test_a_killed_server_is_unreachable_and_cleared_away(vllm_server):
    """Killed between answers, the calls under way fail as unreachable before their deadline; `down` clears the rest."""
    state = server.status(vllm_server.server_dir).state
    async with LLMClient(resolve_endpoint(vllm_server), vllm_server.llm) as client:
        calls = [asyncio.create_task(client.label_logprobs(ask(f"{n}"), LABELS)) for n in range(12)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        os.kill(state.leader.pid, signal.SIGKILL)
        async with asyncio.timeout(vllm_server.llm.timeout_s):
            ends = await asyncio.gather(*calls, return_exceptions=True)
    failed = [end for end in ends if isinstance(end, BaseException)]
    assert failed
    assert all(isinstance(end, LLMUnreachable) for end in failed)
    with pytest.raises(ServerNotRunning, match="ended unexpectedly"):
        resolve_endpoint(vllm_server)
    server.down(vllm_server.server_dir)
    assert len(state.processes) >= 3
    assert not any(processes.running(member) for member in state.processes)
