"""Promises of the measurement of explanations."""

from __future__ import annotations

import json

import pytest
from word_encoder import WordEncoder

from eval.studies import print_explanations
from eval.studies.explanations import explained, queries, report
from retrieval.errors import UsageError
from retrieval.index import Index
from retrieval.ranking import Retriever
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item
from xdrec_agent.recommend import Recommender
from xdrec_agent.settings import ExplainSettings, RerankSettings

WORDS = ("space", "love", "crime", "war")


@pytest.fixture(scope="module")
def retriever(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    with Store.open(f"sqlite:///{folder}/store.sqlite") as store:
        for domain in ("films", "books"):
            items = [
                Item(domain=domain, id=f"{w}-{n}", title=f"{w.title()} {domain} {n}", categories=(w,))
                for w in WORDS
                for n in range(1, 4)
            ]
            store.upsert_items(items, "run")
        liked = [("ada", "space-1"), ("bo", "space-2"), ("cy", "war-1")]
        store.upsert_interactions([Interaction(user=u, domain="films", item=i, value=5) for u, i in liked], "run")
        index = Index(folder / "index", WordEncoder(), load_template("item"), IndexSettings())
        for domain in ("films", "books"):
            index.build(store, domain)
        yield Retriever(store, index, RetrieverSettings())


def recommender(retriever, **explain):
    templates = {task: load_template(task) for task in ("rerank", "judge", "explain")}
    settings = ExplainSettings(**explain)
    return Recommender(
        retriever, None, rerank=RerankSettings(strategy="identity"), explain=settings, templates=templates
    )


async def measured(retriever, count=12, **explain):
    return await explained(recommender(retriever, **explain), "films", "books", count, 3, 0, lambda line: None)


def test_people_come_first_then_seeded_sets_of_likes(retriever):
    """The same seed asks the same questions, of each person once, and goes on as long as is wanted."""
    one, two = (list(zip(queries(retriever.store, "films", "books", 3, 0), range(9), strict=False)) for _ in range(2))
    assert [q.history.user for q, _ in one][:4] == ["ada", "bo", "cy", "likes-0"]
    assert [q for q, _ in one] == [q for q, _ in two]
    assert all(q.history.liked for q, _ in one)


def test_without_items_the_next_step_is_named(retriever):
    """An empty source domain is no endless wait."""
    with pytest.raises(UsageError, match="nothing in 'music'") as caught:
        next(queries(retriever.store, "music", "books", 3, 0))
    assert "demo" in caught.value.hint


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_without_a_server_the_plain_reasons_are_measured(retriever, language):
    """All from the catalogue's facts, all claims supported, in the right language."""
    rows, seconds = await measured(retriever, language=language)
    found = report(rows, seconds, None)
    assert found.explanations == len(rows) >= 12
    assert found.sources == {"llm": 0, "repaired": 0, "evidence": 1}
    assert (found.supported, found.right_language, found.language) == (1, 1, language)
    assert all(claim.supported for row in rows for claim in row.explanation.claims)
    assert found.reasons == ("no language model was asked",)


async def test_likeness_is_measured_between_people_for_one_item(retriever):
    """The same text for everyone has likeness 1 and only duplicates; other words make it less."""
    rows, _ = await measured(retriever, count=3)
    same = [rows[0], rows[0].model_copy(update={"user": "x"})]
    assert (report(same, 1, None).similarity, report(same, 1, None).duplicates) == (1, 1)
    said = rows[0].explanation.model_copy(update={"text": "quite different"})
    other = [rows[0], rows[0].model_copy(update={"user": "x", "explanation": said})]
    assert (report(other, 1, None).similarity, report(other, 1, None).duplicates) == (0, 0)
    assert report(rows[:1], 1, None).similarity is None


async def test_a_row_has_all_that_a_labeller_needs(retriever, capsys):
    """The item, what was liked, the relations and the text; and it is JSON."""
    rows, seconds = await measured(retriever, count=3)
    kept = json.loads(rows[0].model_dump_json())
    assert kept["item"]["title"]
    assert kept["liked"][0]["title"] in kept["explanation"]["text"]
    from rich.console import Console

    print_explanations(report(rows, seconds, "some-model"), Console())
    assert "some-model" in capsys.readouterr().out


def test_nothing_measured_is_an_error():
    """No figures without explanations."""
    with pytest.raises(UsageError):
        report([], 0, None)
