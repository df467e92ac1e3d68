"""Promises of the bias card: what a model leans on is found, and nothing that is not there."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_llm import FakeLLM, status

from eval.data import CHANCE_NDCG, Case, RerankTask
from eval.report import bias_page, write_page
from eval.studies import BiasCard, bias_card
from eval.studies.bias import Shuffles, card_of, variance
from retrieval.errors import UsageError
from retrieval.templates import load_template
from retrieval.types import Candidate, History, HistoryEntry, Item, Query, Ranking
from xdrec_agent.errors import LLMRefused
from xdrec_agent.llm import LLMClient
from xdrec_agent.rerank import RerankContext
from xdrec_agent.settings import LLMSettings, RerankSettings

TEMPLATES = {"rerank": load_template("rerank")}
N = 20
USERS = 30
HOSTILE = "<script>alert('|')</script>\n& \"co\" |x"


def task(user):
    """A user with 20 books of worth 0 to 99, in the title, whose best is the truth; the titles differ in length."""
    rng = np.random.default_rng(user)
    worth = rng.permutation(100)[:N]
    items = [
        Item(domain="books", id=f"b{w}", title=f"Book {w} {'x' * int(rng.integers(1, 40))}") for w in worth.tolist()
    ]
    truth = int(np.argmax(worth))
    history = History(user=str(user), entries=(HistoryEntry(item=Item(domain="films", id="f", title="Film")),))
    case = Case(str(user), "films", "books", history, (items[truth].id,), 0)
    return RerankTask(
        case=case,
        query=Query(history=history, target="books"),
        ranking=Ranking(candidates=tuple(Candidate(item=i, score=0.0) for i in items), source="retrieval"),
        truth=truth,
        counts=np.ones(N, dtype=np.int64),
    )


TASKS = [task(user) for user in range(USERS)]


def model(score):
    """A model whose label logits are `score(slot, worth, title)`."""

    def labels(body):
        text = "\n".join(message["content"] for message in body["messages"])
        shown = re.findall(r"^\[(\w)\] (Book (\d+) x+)", text, re.M)
        assert len(shown) in (0, N)
        return {label: score(slot, int(worth), title) for slot, (label, title, worth) in enumerate(shown)} | {
            "?": -90.0
        }

    return labels


def slots_only(slot, worth, title):
    return -0.3 * abs(slot - 4)


def items_only(slot, worth, title):
    return -0.1 * (100 - worth)


def parsed(page):
    """The page as a tree; an ill-formed one raises."""
    return ElementTree.fromstring(page)  # noqa: S314 (it is our own)


def quiet(_line):
    """Nobody listens."""


async def card(score, shuffles=4, tasks=TASKS, queue=(), **given):
    fake = FakeLLM(labels=model(score))
    fake.then(*queue)
    async with LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client()) as client:
        return await bias_card(RerankContext(RerankSettings(), TEMPLATES, client), tasks, shuffles, quiet, **given)


def quick(score):
    """The card of such a model without a server in between, of two shuffles."""
    rng = np.random.default_rng(1)
    shown = []
    for one in TASKS:
        slots = np.array([rng.permutation(N), rng.permutation(N)])
        items = [(int(c.item.id[1:]), c.item.title) for c in one.ranking.candidates]
        scores = np.array([[score(s, *item) for s, item in zip(row, items, strict=True)] for row in slots])
        shown.append(Shuffles(slots, scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)))
    return card_of("m", "f" * 64, TASKS, shown)


async def test_a_model_that_looks_at_slots_only_is_seen_through():
    """All variance is the slot's, shuffles do not agree, and the favourite slot gets every pick."""
    found = await card(slots_only)
    assert found.variance.share("slot") == pytest.approx(1)
    assert found.variance.share("item") == pytest.approx(0, abs=1e-9)
    assert abs(found.tau.value) < 0.05
    assert found.tau.low < 0 < found.tau.high
    assert found.top_share[4] == 1
    assert found.uniform_p < 1e-6
    favour = -0.3 * np.abs(np.arange(N) - 4)
    assert [f.value for f in found.favour] == pytest.approx(favour - favour.mean())
    assert [s.first for s in found.ndcg_by_slot] == [1, 8, 15]
    assert found.ndcg_by_slot[0].ndcg.low > found.ndcg_by_slot[2].ndcg.high
    assert found.chance == pytest.approx(CHANCE_NDCG)
    assert found.length.low < 0 < found.length.high


async def test_a_model_that_knows_items_is_acquitted():
    """No variance is the slot's, all shuffles agree, the truth is found in every slot and no slot is favoured."""
    found = await card(items_only)
    assert found.variance.share("item") == pytest.approx(1)
    assert found.variance.share("slot") == pytest.approx(0, abs=1e-9)
    assert (found.tau.value, found.tau.low, found.tau.high) == pytest.approx((1, 1, 1))
    assert found.tau_counts[-1] == USERS
    assert found.uniform_p > 0.01
    assert max(found.top_share) < 0.12
    assert all(s.ndcg.value == s.ndcg.low == s.ndcg.high == 1 for s in found.ndcg_by_slot)
    assert all(f.low <= 0 <= f.high for f in found.favour[:1])


async def test_a_model_that_gives_all_the_same_score_is_at_chance_and_has_no_variance():
    """Ties share the pick, so that the first label gets no more than the others."""
    found = await card(lambda slot, worth, title: -3.0)
    assert found.variance is None
    assert found.length is None
    assert found.top_share == pytest.approx([1 / N] * N)
    assert found.uniform_p > 0.01
    assert found.ndcg.value == pytest.approx(CHANCE_NDCG)
    assert found.own_error == pytest.approx(0, abs=0.03)


def test_the_components_of_the_variance_are_unbiased():
    """Planted variances .5 (slot), 2 (item) and 1 (noise) come back, from two shuffles as well as from ten."""
    rng = np.random.default_rng(5)
    for people, shuffles in ((40, 10), (200, 2)):
        found = []
        for _ in range(30):
            slots = rng.permuted(np.tile(np.arange(N), (people, shuffles, 1)), axis=-1)
            favour = rng.permutation(np.linspace(-1, 1, N))
            favour *= np.sqrt(0.5 / favour.var(ddof=1))
            worth = rng.normal(0, np.sqrt(2), (people, 1, N))
            part = variance(slots, favour[slots] + worth + rng.standard_normal(slots.shape))
            found.append((part.slot, part.item, part.rest))
        assert np.mean(found, axis=0) == pytest.approx([0.5, 2, 1], rel=0.03)


def test_noise_alone_gives_neither_slot_nor_item_a_share():
    """Fitted effects of pure noise are not zero; what noise adds to them is taken off, so the mean is zero."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(60):
        slots = rng.permuted(np.tile(np.arange(N), (12, 3, 1)), axis=-1)
        part = variance(slots, rng.standard_normal(slots.shape))
        found.append((part.slot, part.item))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0)) < 3 * error).all()


async def test_a_planted_love_of_long_titles_is_found():
    """The correlation is 1 where only the length counts, and familiarity and popularity are found likewise."""
    familiar = [np.array([-float(len(c.item.title)) for c in t.ranking.candidates]) for t in TASKS]
    counts = [np.array([float(len(c.item.title)) for c in t.ranking.candidates]) for t in TASKS]
    found = await card(lambda slot, worth, title: 0.1 * len(title) - 9, familiarity=familiar, counts=counts)
    assert found.length.value == pytest.approx(1)
    assert found.familiarity.value == pytest.approx(-1)
    assert found.popularity_lift.low > 1.4


async def test_matched_counts_have_no_lift():
    """Where all candidates are equally popular the lift is exactly 1; where nobody knows any there is none."""
    ones, zeros = [np.full(N, 3.0)] * USERS, [np.zeros(N)] * USERS
    assert (await card(items_only, shuffles=2, counts=ones)).popularity_lift.value == pytest.approx(1)
    assert (await card(items_only, shuffles=2, counts=zeros)).popularity_lift is None


def test_probabilities_that_come_true_have_no_calibration_error():
    """A model that says .05 to all and one that is sure and right are calibrated; one that is sure and wrong is not."""
    slots = np.tile(np.arange(N), (2, 1))

    def error(of):
        scores = [np.tile(np.log(of(t)), (2, 1)) for t in TASKS]
        return card_of("m", "f", TASKS, [Shuffles(slots, s) for s in scores]).own_error

    def sure(at):
        return np.where(np.arange(N) == at, 1 - 19e-6, 1e-6)

    assert error(lambda t: sure(t.truth)) < 1e-4
    assert error(lambda t: sure((t.truth + 1) % N)) > 0.09


async def test_slots_stand_alone_where_enough_users_were_seen_in_each():
    """With 16 shuffles of 30 users the truth of at least ten stood in every slot."""
    found = await card(items_only, shuffles=16)
    assert len(found.ndcg_by_slot) == N
    assert sum(s.ndcg.cases for s in found.ndcg_by_slot) == 16 * USERS


async def test_the_same_replies_give_the_same_card():
    """Neither the order of replies nor the clock plays a part."""
    first, second = await card(slots_only, shuffles=2), await card(slots_only, shuffles=2, at_once=1)
    assert first == second
    assert BiasCard.model_validate_json(first.model_dump_json()) == first


async def test_a_user_for_whom_the_model_fails_is_left_out_and_counted():
    """Their other data keep their places; nobody's failure becomes a score."""
    lengths = [np.array([float(len(c.item.title)) for c in t.ranking.candidates]) for t in TASKS]
    queue = [status(400)] * 2
    found = await card(lambda s, w, title: 0.1 * len(title) - 9, 2, queue=queue, familiarity=lengths, at_once=1)
    assert (found.failed, found.users) == (1, USERS - 1)
    assert found.familiarity.value == pytest.approx(1)


async def test_bad_input_is_refused():
    """Few users, one shuffle, a user twice, lists of different lengths, a model that fails: never a number."""
    with pytest.raises(UsageError, match="at least 10 users"):
        await card(items_only, tasks=TASKS[:9])
    with pytest.raises(UsageError, match="at least 10 users"):
        await card(items_only, tasks=[*TASKS, TASKS[0]])
    with pytest.raises(UsageError, match="at least 2 shuffles"):
        await card(items_only, shuffles=1)
    with pytest.raises(LLMRefused):
        await card(items_only, shuffles=2, queue=[status(400)] * 200)


def test_the_page_needs_nothing_else_and_hides_nothing(tmp_path):
    """Well-formed, five charts, no reference to anything outside, no NaN or None, and no model name is markup."""
    found = quick(slots_only).model_copy(update={"model": HOSTILE})
    path = write_page(bias_page(found), tmp_path / "new")
    text = path.read_text(encoding="utf-8")
    page = parsed(text)
    assert len(page.findall(".//svg")) == 5
    assert len(page.findall(".//script")) == 1
    assert not re.search(r"https?:|url\(|@import|\b(src|href)=", text)
    assert "alert('|')" in "".join(page.itertext())
    markdown = (path.parent / "report.md").read_text(encoding="utf-8")
    assert not re.search(r"(?<!\\)<script", markdown)
    shown = re.sub(r"<(style|script).*?</\1>|'none'", "", text, flags=re.S)
    for words in (markdown, shown):
        assert not re.search(r"\b(nan|NaN|None|inf)\b", words)
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {4}
    assert BiasCard.model_validate_json((path.parent / "report.json").read_bytes()) == found


def test_a_model_without_an_opinion_gets_a_page_too(tmp_path):
    """What cannot be measured says so."""
    found = quick(lambda slot, worth, title: -3.0)
    text = write_page(bias_page(found), tmp_path).read_text(encoding="utf-8")
    parsed(text)
    assert "It gives every candidate the same score." in text
    assert "not measured" in text


async def test_the_card_says_what_familiarity_was_taken_from():
    """The log-probability of titles, or popularity where the endpoint tells none; nothing that was not measured."""
    traits = [np.array([float(len(c.item.title)) for c in t.ranking.candidates]) for t in TASKS]

    def score(slot, worth, title):
        return 0.1 * len(title) - 9

    cards = [
        await card(score, shuffles=2),
        await card(score, shuffles=2, familiarity=traits),
        await card(score, shuffles=2, familiarity=traits, familiarity_by="popularity"),
    ]
    tables = [bias_page(one).tables[0] for one in cards]
    found = [row[1].text for table in tables for row in table.rows if row[0].text == "Title familiarity"]
    assert found == ["not measured", "1.000 [1.000, 1.000] by log-probability", "1.000 [1.000, 1.000] by popularity"]
    assert cards[0].familiarity_by is None
