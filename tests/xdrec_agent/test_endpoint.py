"""Promises about where requests go and what an endpoint is believed to do."""

from __future__ import annotations

import os
import time

import fake_llm
import httpx2
import psutil
import pytest
from fake_llm import FakeLLM

from retrieval.errors import UsageError
from xdrec_agent.errors import LLMRefused, LLMUnreachable, RemoteNotAllowed, ServerNotRunning
from xdrec_agent.llm import Capabilities, LLMClient, load_notes, resolve_endpoint
from xdrec_agent.llm.endpoint import Notes, save_notes
from xdrec_agent.llm.probe import probe
from xdrec_agent.server.lifecycle import STATE, ServerState
from xdrec_agent.server.processes import ProcessId
from xdrec_agent.settings import LLMSettings, Settings


async def no_sleep(seconds):
    """Stands in for asyncio.sleep."""


def settings_of(tmp_path, **llm):
    return Settings(home=tmp_path, llm=LLMSettings(**llm))


def connect(fake, endpoint=None):
    return LLMClient(
        endpoint or fake.endpoint(), LLMSettings(attempts=2), http_client=fake.http_client(), sleep=no_sleep
    )


def put_state(settings, *, started, ready=True, served_name="smollm2-135m-instruct", adapters=()):
    """A state file that names this test's own process as the server."""
    settings.server_dir.mkdir(parents=True)
    state = ServerState(
        leader=ProcessId(pid=os.getpid(), started=started),
        port=8417,
        key="secret",
        served_name=served_name,
        model="/models/x",
        log="/tmp/x.log",
        ready=ready,
        adapters=adapters,
    )
    (settings.server_dir / STATE).write_text(state.model_dump_json())


def now_started():
    return psutil.Process().create_time()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "http://localhost:1/v1/", "http://[::1]:8000/v1", "http://127.9.9.9/v1"]
)
def test_a_loopback_url_is_used_as_it_is(tmp_path, url):
    """This machine needs no permission and no encryption."""
    endpoint = resolve_endpoint(settings_of(tmp_path, base_url=url, api_key="k", model="m"))
    assert (endpoint.base_url, endpoint.key, endpoint.model) == (url.rstrip("/"), "k", "m")
    assert not endpoint.managed
    assert endpoint.loopback
    assert endpoint.base_urls == (endpoint.base_url,)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "http://192.168.1.7:8000/v1",
        "http://127.0.0.1@api.example.com/v1",
        "http://localhost.example.com/v1",
        "http://0.0.0.0:8000/v1",
    ],
)
def test_another_machine_needs_permission(tmp_path, url):
    """Histories do not leave the machine unless somebody said so, whatever the URL looks like."""
    with pytest.raises(RemoteNotAllowed, match="histories") as raised:
        resolve_endpoint(settings_of(tmp_path, base_url=url))
    assert "allow_remote" in raised.value.hint


def test_another_machine_needs_https(tmp_path):
    """With permission an encrypted connection works, an open one does not."""
    with pytest.raises(RemoteNotAllowed, match="not encrypted"):
        resolve_endpoint(settings_of(tmp_path, base_url="http://api.example.com/v1", allow_remote=True))
    allowed = settings_of(tmp_path, base_url="https://api.example.com/v1", allow_remote=True)
    assert not resolve_endpoint(allowed).loopback


@pytest.mark.parametrize("url", ["api.example.com/v1", "ftp://127.0.0.1/v1", "http:///v1", ""])
def test_what_is_no_url_is_a_usage_error(tmp_path, url):
    """A mistyped URL is reported before anything is sent."""
    with pytest.raises(UsageError, match="no http"):
        resolve_endpoint(settings_of(tmp_path, base_url=url))


def test_without_a_server_the_hint_starts_one(tmp_path):
    """Nothing configured and nothing started: the error names the command."""
    with pytest.raises(ServerNotRunning) as raised:
        resolve_endpoint(settings_of(tmp_path))
    assert raised.value.hint == "xdrec llm up"


def test_the_managed_server_is_found(tmp_path):
    """The running server's address and key come from its state file."""
    settings = settings_of(tmp_path)
    put_state(settings, started=now_started())
    endpoint = resolve_endpoint(settings)
    assert endpoint.managed
    assert (endpoint.base_url, endpoint.key) == ("http://127.0.0.1:8417/v1", "secret")
    assert "secret" not in repr(endpoint)


def test_an_adapter_answers_under_its_own_name(tmp_path):
    """Requests name the adapter that the settings choose, and what is learnt about it is kept apart."""
    chosen, plain = settings_of(tmp_path, adapter="taste"), settings_of(tmp_path)
    put_state(chosen, started=now_started(), adapters=("taste",))
    assert (resolve_endpoint(chosen).model, resolve_endpoint(plain).model) == ("taste", "smollm2-135m-instruct")
    assert resolve_endpoint(chosen).notes != resolve_endpoint(plain).notes
    with pytest.raises(ServerNotRunning, match="does not serve the adapter other"):
        resolve_endpoint(settings_of(tmp_path, adapter="other"))
    elsewhere = settings_of(tmp_path, adapter="taste", base_url="http://127.0.0.1:1/v1")
    assert resolve_endpoint(elsewhere).model == "taste"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"started": 1.0}, "ended unexpectedly"),
        ({"ready": False}, "still starting"),
        ({"served_name": "other"}, "runs other, not smollm2"),
    ],
)
def test_a_server_that_cannot_answer_is_not_used(tmp_path, change, says):
    """A stale state, a start under way and another model are told apart, and none is taken for the server."""
    settings = settings_of(tmp_path)
    put_state(settings, **({"started": now_started()} | change))
    with pytest.raises(ServerNotRunning, match=says):
        resolve_endpoint(settings)


async def test_probe_sees_all_of_vllm():
    """An endpoint that does everything is seen to do everything."""
    fake = FakeLLM()
    async with connect(fake) as client:
        assert await probe(client.wire) == Capabilities(
            exact_label_logprobs=True,
            top_logprobs=20,
            structured_output=True,
            tokenize=True,
            generative_scoring=True,
            max_model_len=4096,
            server_version="0.32.0",
        )


async def test_probe_sees_a_plain_endpoint():
    """An endpoint with OpenAI's options only is not credited with vLLM's."""
    fake = FakeLLM(vllm=False)
    async with connect(fake) as client:
        assert await probe(client.wire) == Capabilities(top_logprobs=20, structured_output=True, max_model_len=4096)


async def test_an_ignored_option_does_not_count():
    """A server that accepts everything and ignores most of it is found out."""

    def ignore(fake, body):
        known = {"model", "messages", "max_tokens", "temperature"}
        return fake_llm.answer(fake, {name: value for name, value in body.items() if name in known})

    fake = FakeLLM()
    fake.then(*[ignore] * 50)
    async with connect(fake) as client:
        seen = await probe(client.wire)
    assert not seen.exact_label_logprobs
    assert seen.top_logprobs == 0
    assert not seen.structured_output


async def test_probe_fails_if_the_endpoint_does_not_answer():
    """An outage and a wrong key are errors and never an endpoint that can do nothing."""
    fake = FakeLLM()
    refused = fake_llm.raises(httpx2.ConnectError("refused"))
    async with connect(fake) as client:
        fake.then(refused, refused)
        with pytest.raises(LLMUnreachable):
            await probe(client.wire)
        fake.then(fake_llm.status(401))
        with pytest.raises(LLMRefused):
            await probe(client.wire)


async def test_capabilities_are_asked_once(tmp_path):
    """A second client of the same endpoint finds the answer in the home folder."""
    first, second = FakeLLM(), FakeLLM()
    async with connect(first, first.endpoint(notes=tmp_path / "llm" / "notes.json")) as client:
        seen = await client.capabilities()
        asked = len(first.paths)
        assert await client.capabilities() == seen
    async with connect(second, second.endpoint(notes=tmp_path / "llm" / "notes.json")) as client:
        assert await client.capabilities() == seen
    assert len(first.paths) == asked > 0
    assert second.paths == []


@pytest.mark.parametrize("change", [{"instance": "2 3.0"}, {"model": "other"}, {"base_url": "http://127.0.0.1:10/v1"}])
def test_notes_of_another_server_do_not_count(tmp_path, change):
    """After a restart, or for another model or address, the endpoint is asked again."""
    kept = FakeLLM().endpoint(instance="1 2.0", notes=tmp_path / "notes.json")
    notes = Notes(base_url=kept.base_url, model=kept.model, instance=kept.instance, capabilities=Capabilities())
    save_notes(kept, notes)
    assert load_notes(kept) == notes
    assert load_notes(kept.model_copy(update=change)) is None


def test_notes_of_a_configured_endpoint_age(tmp_path):
    """An endpoint that others run may be upgraded unnoticed: after a day it is asked again; ours need not be."""
    kept = FakeLLM().endpoint(managed=False, notes=tmp_path / "notes.json")
    notes = Notes(base_url=kept.base_url, model=kept.model, instance="", capabilities=Capabilities())
    save_notes(kept, notes)
    long_ago = time.time() - 25 * 3600
    os.utime(kept.notes, (long_ago, long_ago))
    assert load_notes(kept) is None
    assert load_notes(kept.model_copy(update={"managed": True})) == notes


def test_damaged_notes_are_asked_again(tmp_path):
    """A cut-off file is the same as none."""
    kept = FakeLLM().endpoint(notes=tmp_path / "notes.json")
    kept.notes.write_text('{"base_url"')
    assert load_notes(kept) is None
