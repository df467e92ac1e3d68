"""An endpoint is outside input: whatever it sends, a call ends as a reply or an `LLMError`, in bounded memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import UsageError
from xdrec_agent.errors import LLMError, LLMReplyInvalid
from xdrec_agent.llm import Endpoint, LLMClient, resolve_endpoint
from xdrec_agent.llm.bounded import MAX_REPLY, bound
from xdrec_agent.settings import LLMSettings, Settings

ASK = [{"role": "user", "content": "Hello"}]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


async def no_nap(_seconds):
    pass


def client(base_url, **settings):
    endpoint = Endpoint(base_url=base_url, model="m", managed=False)
    return LLMClient(endpoint, LLMSettings(**({"attempts": 1, "timeout_s": 30} | settings)), sleep=no_nap)


@asynccontextmanager
async def serving(talk):
    """A server that says what `talk(writer)` writes after each request's head; its base URL."""

    async def answer(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_an_endless_reply_is_left_after_its_limit():
    """The connection is closed once the limit is passed; the call fails as an invalid reply."""
    sent = 0

    async def talk(writer):
        nonlocal sent
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000

    async with serving(talk) as url, client(url) as llm:
        with pytest.raises(LLMReplyInvalid, match="more than"):
            await llm.chat(ASK, max_tokens=1)
    assert sent < MAX_REPLY + 2**24  # and what the sockets' buffers took


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br"])
async def test_a_bomb_is_not_unpacked(encoding):
    """A reply of 300 MiB in 300 KiB costs no more memory than a reply may have; one packed otherwise is refused."""
    bomb = gzip.compress(b" " * 300 * 2**20, 9)

    async def talk(writer):
        writer.write(HEAD + b"content-encoding: %s\r\ncontent-length: %d\r\n\r\n" % (encoding, len(bomb)) + bomb)
        await writer.drain()

    async with serving(talk) as url, client(url) as llm:
        tracemalloc.start()
        with pytest.raises(LLMReplyInvalid):
            await llm.chat(ASK, max_tokens=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 32 * 2**20


async def test_a_packed_reply_is_read():
    """gzip is what is offered, and understood."""
    body = gzip.compress(json.dumps({"model": "m", "choices": [{"message": {"content": "Hello"}}]}).encode())

    async def talk(writer):
        writer.write(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with serving(talk) as url, client(url) as llm:
        assert (await llm.chat(ASK, max_tokens=1)).text == "Hello"


async def test_the_loop_goes_on_while_a_long_reply_is_parsed():
    """200,000 log-probabilities are more than a reply may have; as many as may be leave the event loop alive."""
    top = [{"token": f"t{n}", "logprob": -1.0} for n in range(40_000)]
    logprobs = {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": top}]}
    body = json.dumps({"model": "m", "choices": [{"message": {"content": "A"}, "logprobs": logprobs}]}).encode()
    assert 2**20 < len(body) < MAX_REPLY

    async def talk(writer):
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with serving(talk) as url, client(url) as llm:
        assert (await llm.chat(ASK, max_tokens=1)).text == "A"


ODD = st.one_of(
    st.sampled_from(["Fri, 31 Dec 99999 23:59:59 GMT", "1e400", "nan", "-5", "soon", "", "9" * 400]),
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60),
)
NAMES = st.sampled_from(["retry-after", "content-type", "content-encoding", "x-request-id", "location", "date"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["model", "choices", "message", "content", "logprobs", "usage", "error", "top_logprobs"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
BODIES = st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=80))


@given(
    status=st.integers(200, 599),
    headers=st.dictionaries(NAMES, ODD, max_size=4),
    body=BODIES,
    labels=st.booleans(),
)
def test_no_reply_ends_otherwise_than_as_an_answer_or_an_error_of_ours(status, headers, body, labels):
    """Any status, headers and body: nothing but an `LLMError` comes out, however odd the values are."""

    def handle(_request):
        return httpx2.Response(
            status, headers=[(k.encode(), v.encode("latin-1")) for k, v in headers.items()], stream=_Stream(body)
        )

    async def ask():
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle), event_hooks={"response": [bound]})
        endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="m", managed=False)
        async with LLMClient(endpoint, LLMSettings(attempts=2), http_client=http, sleep=no_nap) as llm:
            with suppress(LLMError):
                return await (llm.label_logprobs(ASK, ["A", "B"]) if labels else llm.chat(ASK, max_tokens=1))
        return None

    answer = asyncio.run(ask())
    if labels:  # probed first, so an odd endpoint never gets as far as a ranking
        assert answer is None
    else:
        assert answer is None or isinstance(answer.text, str)


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, body):
        self.body = body

    async def __aiter__(self):
        yield self.body


@pytest.mark.parametrize("value", [-1e308, -1e6, float("nan"), 0.5])
async def test_what_is_no_log_probability_is_no_ranking(value):
    """A value that no probability has is an invalid reply, not the last place."""
    top = [{"token": "A", "logprob": -1.0}, {"token": "B", "logprob": value}]
    logprobs = {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": top}]}
    reply = {"model": "m", "choices": [{"message": {"content": "A"}, "logprobs": logprobs}]}

    def handle(request):
        path = request.url.path
        return httpx2.Response(200, content=json.dumps(reply)) if path.endswith("completions") else httpx2.Response(404)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", model="m", managed=False)
    async with LLMClient(endpoint, LLMSettings(attempts=1), http_client=http, sleep=no_nap) as llm:
        with pytest.raises(LLMError):
            await llm.label_logprobs(ASK, ["A", "B"])


def test_a_password_in_the_url_is_used_and_shown_nowhere(tmp_path):
    """User and password of a base URL become the request's login; no address that is shown or kept has them."""
    url = "http://ada:s%40cret@127.0.0.1:9/v1/"
    settings = Settings(home=tmp_path, llm=LLMSettings(base_url=url, model="m"))
    endpoint = resolve_endpoint(settings)
    assert endpoint.base_url == "http://127.0.0.1:9/v1"
    assert endpoint.passwords == {"http://127.0.0.1:9/v1": ("ada", "s@cret")}
    assert "s%40cret" not in repr(endpoint)
    assert "s@cret" not in repr(endpoint)
    for broken in ("http://ada:s%40cret@[/v1", "ftp://ada:s%40cret@127.0.0.1/v1"):
        with pytest.raises(UsageError) as caught:
            resolve_endpoint(settings.model_copy(update={"llm": LLMSettings(base_url=broken, model="m")}))
        assert "s%40cret" not in str(caught.value)
