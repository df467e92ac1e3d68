"""Promises of the tools for other agents, called through the SDK's own client in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from mcp import Client
from service_kit import opener, settings_at

from xdrec_agent.service.app_state import open_state
from xdrec_agent.service.mcp_server import make_server
from xdrec_agent.service.middleware import ConcurrencyLimiter, Metrics

ASK = {"sources": ["films"], "target": "books"}


@asynccontextmanager
async def agent(home):
    """A client of the tools over the store in `home`."""
    limiter = ConcurrencyLimiter(2, 2, Metrics())
    async with (
        open_state(settings_at(home), opener(), limiter, keys_required=False) as state,
        Client(make_server(state)) as client,
    ):
        yield client


async def test_the_tools_say_what_they_take(home):
    """Every tool only reads, has a description, and describes what it gives back."""
    async with agent(home) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"recommend", "explain", "search_items"}
    assert all(tool.description and tool.output_schema for tool in tools.values())
    assert all(tool.annotations.read_only_hint for tool in tools.values())
    assert {"sources", "target"} <= set(tools["recommend"].input_schema["required"])
    assert "ctx" not in tools["recommend"].input_schema["properties"]


async def test_recommendations_come_with_reasons_and_an_id(home):
    """Lean results: titles, reasons, and the id with which explain tells more."""
    async with agent(home) as client:
        answer = (await client.call_tool("recommend", ASK | {"likes": ["Sea films 1"], "k": 2})).structured_content
        assert [one["rank"] for one in answer["items"]] == [1, 2]
        assert all(one["reason"] for one in answer["items"])
        told = {"answer": answer["answer"], "rank": 2}
        why = (await client.call_tool("explain", told)).structured_content
        assert why["item"] == answer["items"][1]["item"]
        assert why["cites"] == ["Sea films 1"]
        assert not why["from_model"]


async def test_filters_and_known_users_count(home):
    """As over HTTP."""
    async with agent(home) as client:
        ask = ASK | {"user": "ada", "filters": {"year_from": 1994}, "k": 3}
        answer = (await client.call_tool("recommend", ask)).structured_content
    assert {one["item"]["year"] for one in answer["items"]} == {1994}


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("recommend", ASK | {"target": "songs", "likes": ["Sea films 1"]}, "xdrec ingest"),
        ("recommend", ASK | {"likes": ["Spoons films 9"]}, "nearest"),
        ("recommend", ASK, "nothing to go by"),
        ("search_items", {"domain": "songs", "title": "a"}, "xdrec ingest"),
        ("explain", {"answer": "nobodys", "rank": 1}, "no answer"),
    ],
)
async def test_a_mistake_is_told_with_the_next_step(home, tool, arguments, said):
    """The calling model gets the message and the hint, and can do better."""
    async with agent(home) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert said in result.content[0].text
