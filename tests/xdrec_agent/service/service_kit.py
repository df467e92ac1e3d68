"""What the tests of the service share: settings, parts, a client, a fake model. The word encoder, no torch."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager

from fake_llm import FakeLLM
from starlette.testclient import TestClient
from word_encoder import WordEncoder

from retrieval.index import Index
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import load_template
from xdrec_agent.llm import LLMClient
from xdrec_agent.service.app import create_app
from xdrec_agent.service.parts import Parts
from xdrec_agent.settings import AnswerSettings, LLMSettings, RerankSettings, ServiceSettings, Settings

ASK = {"sources": ["films"], "target": "books", "user": "ada"}
"""A question that can be answered."""


def settings_at(home, *, strategy="identity", keep=True, **service):
    """Settings of a service over the store in `home`; by default without a model's say."""
    return Settings(
        home=home,
        rerank=RerankSettings(strategy=strategy, weight=0.5),
        service=ServiceSettings(**service),
        answers=AnswerSettings(keep=keep),
    )


def opener(client=None):
    """What opens the parts: the store of the settings, the word encoder, and the given client."""

    @asynccontextmanager
    async def opened(settings):
        with (
            Store(settings.store_url) as store,
            Index(settings.index_dir, WordEncoder(), load_template("item"), IndexSettings()) as index,
        ):
            if client is None:
                yield Parts(store, index, None, "the model does not run")
            else:
                async with client:
                    yield Parts(store, index, client)

    return opened


@contextmanager
def serving(home, client=None, *, key=None, strategy="identity", keep=True, **service):
    """A client of a running service; `key` goes along with every request."""
    app = create_app(settings_at(home, strategy=strategy, keep=keep, **service), opener(client))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with TestClient(app, base_url="http://127.0.0.1", headers=headers) as http:
        yield http


def fake_client(fake=None):
    """A fake model and a client of it that does not try again."""
    fake = fake or FakeLLM()
    return fake, LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client())


def events_of(text):
    """(name, data) of each server-sent event."""
    blocks = [block for block in text.split("\n\n") if block.startswith("event:")]
    return [(b.split("\n")[0].removeprefix("event: "), json.loads(b.split("data: ", 1)[1])) for b in blocks]
