"""Promises of the comparison that decides about facets, with a fake model that knows tastes, or makes them up."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from fake_llm import FakeLLM
from little_encoder import save_encoder
from typer.testing import CliRunner
from word_encoder import WordEncoder

from eval.cli import app
from eval.runs import compare_runs
from eval.studies import METRIC, FacetStudy
from retrieval.errors import DataError, UsageError
from retrieval.index import INTERACTIONS_FILE
from retrieval.store import Store
from retrieval.types import Interaction, Item
from xdrec_agent.enrich import Enrichment, FacetStore, load_wordings
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import LLMSettings, Settings

TASTES = ("space", "crime", "love", "war")
BOOKS, PEOPLE = 240, 40


def taste_of(n):
    return TASTES[n % len(TASTES)]


@pytest.fixture
def home(tmp_path):
    """Films that say what they are about, books that do not, and people of four tastes who liked both."""
    films = [Item(domain="films", id=f"f{n}", title=f"Film {n}", description=taste_of(n)) for n in range(40)]
    books = [Item(domain="books", id=f"b{n}", title=f"Volume {n}") for n in range(BOOKS)]
    did = [
        Interaction(user=f"u{n}", domain=domain, item=f"{domain[0]}{n % 4 + 4 * m}", value=5, timestamp=time + m)
        for n in range(PEOPLE)
        for domain, time, ms in (("films", 0, (0, 1, 2)), ("books", 10, (n, n + 1)))
        for m in ms
    ]
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with Store.open(url) as store, FacetStore.open(url) as kept:
        store.upsert_items([*films, *books], "run")
        store.upsert_interactions(did, "run")
        yield store, kept, tmp_path


def told(known):
    """A model that says, of a book by its number, what `known` makes of it; asked twice it says the same."""

    def reply(body):
        number = int(re.search(r"Volume (\d+)", json.dumps(body)).group(1))
        return json.dumps({"known": True, "themes": [known(number)]})

    return FakeLLM(text=reply)


async def enrich(home, known, limit=None):
    store, kept, _ = home
    fake = told(known)
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client())
    async with client:
        await Enrichment(store, kept, client, load_wordings(), "books", limit).run()


def work(home, encoder=None):
    store, kept, folder = home
    # The text alone: what everybody likes would say the same in both arms.
    settings = Settings(home=folder, retriever={"signals": ["text"]})
    return FacetStudy(store, kept, encoder or WordEncoder(), settings, users=PEOPLE)


def compared(runs):
    return compare_runs(runs, [METRIC], np.random.default_rng(0)).comparisons[0]


async def test_facets_that_tell_the_taste_are_found_to_help(home):
    """The second arm has the facets, and the interval of the difference lies above zero."""
    await enrich(home, taste_of)
    found = compared(work(home).run(home[2] / "out", lambda _: None))
    assert found.arm == "facets"
    assert found.difference.low > 0.1
    assert found.adjusted is None or found.adjusted < 0.05


async def test_facets_that_are_made_up_are_not_found_to_help(home):
    """A model that says the wrong thing of every book, twice, gains nothing."""
    await enrich(home, lambda n: taste_of(n * 7 // 5 + 1))
    found = compared(work(home).run(home[2] / "out", lambda _: None))
    assert found.difference.mean < 0.1


async def test_each_text_is_embedded_once(home):
    """Items without facets have the same text in both arms: the second index costs the enriched ones alone."""
    await enrich(home, taste_of, limit=32)
    encoder = WordEncoder()
    work(home, encoder).run(home[2] / "out", lambda _: None)
    assert len(encoder.encoded) == len(set(encoder.encoded)) == 40 + BOOKS + 32


async def test_it_goes_on_and_leaves_nobody_behind(home):
    """A second call makes nothing again, and no copy of what people did lies beside the indexes."""
    await enrich(home, taste_of, limit=32)
    out = home[2] / "out"
    first = [run.results() for run in work(home).run(out, lambda _: None)]
    encoder = WordEncoder()
    again = [run.results() for run in work(home, encoder).run(out, lambda _: None)]
    assert again == first
    assert encoder.encoded == []
    assert not list(out.rglob(INTERACTIONS_FILE))


async def test_other_facets_are_another_run(home):
    """A folder is not continued with what was enriched since: the arms would not be of one thing."""
    await enrich(home, taste_of, limit=32)
    work(home).run(home[2] / "out", lambda _: None)
    await enrich(home, taste_of, limit=32)
    with pytest.raises(UsageError):
        work(home).run(home[2] / "out", lambda _: None)


def test_nothing_enriched_is_an_error_that_says_so(home):
    """There is nothing to compare."""
    with pytest.raises(UsageError, match="no item has facets") as caught:
        work(home).run(home[2] / "out", lambda _: None)
    assert caught.value.hint == "xdrec enrich DOMAIN"


async def test_a_store_without_cases_is_an_error_that_says_so(home):
    """Facets cannot be judged without people who know two domains."""
    await enrich(home, taste_of, limit=1)
    for n in range(PEOPLE):
        home[0].delete_user(f"u{n}")
    with pytest.raises(DataError, match="nobody's history gives a case"):
        work(home).run(home[2] / "out", lambda _: None)


async def test_the_command_compares_and_advises(home, monkeypatch):
    """Works on the configured home; the verdict goes to stdout, what to set to stderr."""
    await enrich(home, taste_of)
    save_encoder(home[2] / "models" / "minilm-taste", TASTES)
    monkeypatch.setenv("XDREC_HOME", str(home[2]))
    monkeypatch.setenv("XDREC_MODELS_DIR", str(home[2] / "models"))
    monkeypatch.setenv("XDREC_DEVICE", "cpu")
    monkeypatch.setenv("XDREC_RETRIEVER__SIGNALS", '["text"]')
    done = CliRunner().invoke(app, ["facets", str(home[2] / "out"), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    (decisive, *_) = json.loads(done.stdout)["comparisons"]
    assert (decisive["arm"], decisive["metric"]) == ("facets", METRIC)
    assert "facets help: encoder.facets = true" in done.stderr
