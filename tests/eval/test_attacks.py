"""Promises about hostile item texts: they stay in their place, and what they gain is measured."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections import Counter

import numpy as np
import pytest
from fake_llm import FakeLLM
from prompt_breaches import ENCODED, VARIABLES, breaches
from rich.console import Console

from eval.data import Case, RerankTask
from eval.studies import AttackReport, attack_report, print_attacks
from eval.studies.attacks import KINDS, Attack, Trial, attacked, control, gains, load_attacks, measure
from retrieval.templates import TASKS, load_template, parse_template, plain, prompts_dir, shipped_templates
from retrieval.types import Candidate, History, HistoryEntry, Item, Match, Query, Ranking
from xdrec_agent.explain import ExplainContext, explain_candidate, load_locale, plain_explanation
from xdrec_agent.explain.constrained_output import reply_schema
from xdrec_agent.grounding import gather
from xdrec_agent.llm import LLMClient
from xdrec_agent.rerank import RerankContext
from xdrec_agent.settings import ExplainSettings, LLMSettings, RerankSettings

ATTACKS = load_attacks()
SPOOFS = tuple(a for a in ATTACKS if a.kind in {"fake-turn", "chat-template-token", "label-spoofing"})
ORDERS = tuple(a for a in ATTACKS if "rank me first" in plain(a.payload, 30 if a.where == "creator" else 40).lower())
SHIPPED = shipped_templates()
FOR_MODELS = tuple(name for name in SHIPPED if load_template(name).task not in ENCODED)
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.id)

FILM = Item(domain="films", id="harbour", title="Old Harbour", creators=("B. Maker",), categories=("drama",))
HISTORY = History(user="u", entries=(HistoryEntry(item=FILM),))
# What is left invisible though no control or format character: Unicode's other default-ignorable characters.
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def raw(name):
    """The shipped template without the filter that neutralises, to see what it is good for."""
    place = name if name in SHIPPED else f"en/{name}"
    text = (prompts_dir() / f"{place}.jinja").read_text(encoding="utf-8")
    return parse_template(f"raw-{name}", re.sub(r"\s*\|\s*plain(\(\d+\))?", "", text))


def book(n):
    return Item(domain="books", id=f"b{n}", title=f"Book {n}", creators=("A. Writer",), categories=("drama", "novel"))


def task(user, n=8):
    """A list of n books of which the first is the truth."""
    history = History(user=user, entries=(HistoryEntry(item=FILM),))
    candidates = tuple(Candidate(item=book(i), score=1 - i / 100) for i in range(n))
    case = Case(user=user, source="films", target="books", history=history, truth=("b0",), cut=0)
    return RerankTask(
        case=case,
        query=Query(history=history, target="books"),
        ranking=Ranking(candidates=candidates, source="retrieval"),
        truth=0,
        counts=np.ones(n, dtype=np.int64),
    )


def blocks(body):
    """Label → what stands between it and the next one's, in a request for the labels of a list; else nothing."""
    text = "\n".join(message["content"] for message in body["messages"])
    at, found = 0, {}
    for label in map(chr, sorted(body.get("logprob_token_ids", ()))):
        place = text.find(f"\n[{label}] ", at)
        if place < 0:
            return {}
        if found:
            found[max(found)] = text[at:place]
        at = place + len(f"\n[{label}] ")
        found[label] = text[at:]
    return found


def liking(text):
    """Earlier books more; what is no book least."""
    number = re.search(r"Book (\d+)", text)
    return 0.5 - int(number.group(1)) / 50 if number else 0.1


def gullible(falls_for):
    """A model that is sure of whatever text `falls_for` finds something in, and else prefers earlier books."""

    def chance(text):
        return 0.99 if re.search(falls_for, text.strip(), re.I) else liking(text)

    return FakeLLM(
        labels=lambda body: {k: float(np.log(chance(v))) for k, v in blocks(body).items()} | {"?": -20.0},
        scores=lambda body: [chance(item) for item in body["items"]],
    )


async def no_nap(_seconds):
    """Retries at once."""


async def trials_of(fake, attacks, judge="listwise-logprob", template=load_template, users="uvw"):
    settings = RerankSettings(min_shuffles=1, max_shuffles=1)
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        context = RerankContext(settings, {name: template(name) for name in ("rerank", "judge")}, client)
        found = await measure(context, [judge], [task(u) for u in users], attacks, at_once=4, say=lambda line: None)
    assert len(found[judge]) == len(attacks) * len(users)
    return found[judge]


# The suite


def test_the_suite_is_large_and_has_every_kind():
    """At least 40 texts, each with an id of its own, at least two of every kind and every field."""
    assert len(ATTACKS) >= 40
    assert len({a.id for a in ATTACKS}) == len({(a.where, a.payload) for a in ATTACKS}) == len(ATTACKS)
    kinds = Counter(a.kind for a in ATTACKS)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 2
    assert min(Counter(a.where for a in ATTACKS).values()) >= 2


@each_attack
def test_the_control_looks_as_long_and_only_the_field_differs(attack):
    """Attack and control change the same field of the same item, and show the same number of characters."""
    hostile, harmless = attacked(book(1), attack), control(book(1), attack)
    changed = {"title": "title", "creator": "creators", "category": "categories"}[attack.where]
    assert (
        hostile.model_dump(exclude={changed})
        == harmless.model_dump(exclude={changed})
        == book(1).model_dump(exclude={changed})
    )
    texts = [item.title if changed == "title" else getattr(item, changed)[-1] for item in (hostile, harmless)]
    assert texts[0] == attack.payload
    shown, words = (len(plain(text, 10**6)) for text in texts)
    assert max(1, shown) - 1 <= words <= max(1, shown)


# Places in prompts


def test_every_task_says_what_a_hostile_item_can_reach():
    """A task that is added must say its variables here, or it would go untested."""
    assert set(VARIABLES) == set(TASKS)
    assert set(TASKS) >= ENCODED


@pytest.mark.parametrize("name", FOR_MODELS)
@each_attack
def test_a_hostile_text_stays_in_its_place(attack, name):
    """No turn, line, delimiter, label or invisible control is added to any prompt, and the text is bounded."""
    assert breaches(load_template(name), attack) == []


@each_attack
def test_a_hostile_text_stays_in_its_place_in_the_example(attack):
    """The prompt that the README compares with ours is as safe."""
    assert breaches(load_template(str(prompts_dir().parent / "examples" / "prompts" / "titles.jinja")), attack) == []


@pytest.mark.parametrize("name", FOR_MODELS)
def test_without_the_filter_they_do_break_out(name):
    """The check above can fail: unfiltered, most of the texts that try to leave their place do."""
    broken = {attack.id for attack in ATTACKS if breaches(raw(name), attack)}
    # Categories reach a reason's prompt in facts only, which are neutralised when they are phrased.
    spoofs = {a.id for a in SPOOFS if a.where != "category" or load_template(name).task != "explain"}
    assert spoofs | {"bidi-override", "tag-characters", "long-order", "jinja-sum", "script"} <= broken


@pytest.mark.parametrize("name", FOR_MODELS)
def test_nothing_invisible_reaches_a_prompt(name):
    """What a person cannot see in a catalogue, a model does not read either."""
    (attack,) = (a for a in ATTACKS if a.id == "variation-selectors")
    messages = load_template(name).messages(**VARIABLES[load_template(name).task](attacked(book(1), attack)))
    assert not UNSEEN.search("".join(m["content"] for m in messages))


# Places in rankings


async def test_spoofs_gain_nothing_from_a_model_that_falls_for_them():
    """Labels, turns and control tokens never reach the model as such; unfiltered, each would come first."""
    structure = r"\[\w\]|<\|?/?\w|\n"
    unfiltered = await trials_of(gullible(structure), SPOOFS, template=raw)
    assert {t.after for t in unfiltered} == {1.0}
    assert np.mean([t.over_control for t in unfiltered]) > 1
    filtered = await trials_of(gullible(structure), SPOOFS)
    assert {t.over_control for t in filtered} == {0.0}


@pytest.mark.parametrize("judge", ["listwise-logprob", "pointwise-logprob"])
async def test_orders_in_plain_words_gain_as_much_as_the_model_is_gullible(judge):
    """Words are data that cannot be neutralised: who obeys them is had, and the measurement shows it."""
    assert len(ORDERS) >= 3
    obeyed = await trials_of(gullible("rank me first"), ORDERS, judge)
    assert {t.after for t in obeyed} == {1.0}
    assert min(t.before for t in obeyed) > 1
    assert all(t.lift == t.before - 1 and t.over_control == t.after_control - 1 for t in obeyed)
    unmoved = await trials_of(gullible("never said"), ORDERS, judge)
    assert {t.over_control for t in unmoved} == {0.0}


async def test_the_same_seed_aims_at_the_same_items_and_never_at_the_truth():
    """A measurement can be repeated, and an attacker's item is one that should not be first."""
    one, two = [await trials_of(gullible("rank me first"), ATTACKS[:4]) for _ in range(2)]
    assert one == two
    assert "b0" not in {t.item for t in one}
    assert len({t.item for t in one}) > 1


def trial(attack, user, lift, over_control):
    return Trial(attack, user, "b1", before=9.0, after=9.0 - lift, after_control=9.0 - lift + over_control)


def test_gains_are_summed_by_kind_with_the_share_of_attacks_that_won():
    """First all, then each kind; an attack wins by its mean over lists; equal values have no width."""
    order, spoof = (Attack(id=k, kind=k, field="title", text="x") for k in ("instruction", "label-spoofing"))
    trials = [trial(order, "u", 5, 2), trial(order, "v", 6, 4), trial(spoof, "u", 1, 0), trial(spoof, "v", 1, 0)]
    total, orders, spoofs = gains("judge", trials, np.random.default_rng(0))
    assert (total.kind, orders.kind, spoofs.kind) == (None, "instruction", "label-spoofing")
    assert (total.attacks, total.won, orders.won, spoofs.won) == (2, 0.5, 1.0, 0.0)
    assert total.over_control.value == pytest.approx(1.5)
    assert total.over_control.low < 1.5 < total.over_control.high
    assert (spoofs.lift.value, spoofs.lift.low, spoofs.lift.high) == (1.0, 1.0, 1.0)
    assert (spoofs.lift.users, spoofs.lift.cases) == (2, 2)


# Explanations


def candidate(item):
    return Candidate(item=item, score=0.5, matches=(Match(domain="films", item="harbour", similarity=0.5, share=1.0),))


def evidence(item):
    return gather(candidate(item), HISTORY, None, 3)


def grammar(item):
    """The pattern that the model's sentence must have, split at the recommended item's title; and that title."""
    schema = reply_schema(evidence(item), load_locale("en", "short"))
    pattern = schema.model_json_schema()["properties"]["text"]["pattern"]
    (title,) = set(re.findall(r"you may like (.*?) for its \(", pattern))
    return pattern.split(f"you may like {title} for its"), re.sub(r"\\(.)", r"\1", title)


@each_attack
def test_the_grammar_of_a_reason_takes_the_neutralised_title_and_nothing_else(attack):
    """Whatever the text, the sentence has the form it has for a harmless item, and the pattern still compiles."""
    item = attacked(book(1), attack)
    parts, title = grammar(item)
    assert parts == grammar(book(1))[0]
    assert title == f"“{plain(item.title, 80)}”"
    pattern = f"you may like {re.escape(title)} for its".join(parts)
    assert re.fullmatch(pattern, f"Because you liked “Old Harbour”, you may like {title} for its drama.")
    assert not re.fullmatch(pattern, attack.payload)


async def report_on(fake, judge):
    async with LLMClient(
        fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap
    ) as client:
        context = RerankContext(RerankSettings(), {name: load_template(name) for name in ("rerank", "judge")}, client)
        found = await attack_report(context, [judge], [task(u) for u in "uv"], lambda line: None)
    console = Console(width=200, record=True, file=io.StringIO())
    print_attacks(found, console)
    return found, console.export_text()


async def test_the_report_has_a_row_for_all_attacks_and_one_for_each_kind():
    """In the table and in JSON, with the gains over harmless words."""
    found, shown = await report_on(gullible(r"rank me first"), "listwise-logprob")
    assert [gain.kind for gain in found.gains] == [None, *KINDS]
    assert found.failed == {"listwise-logprob": 0}
    assert all(f"{gain.over_control.value:+.2f} [" in shown for gain in found.gains)
    assert AttackReport.model_validate_json(found.model_dump_json()) == found


async def test_the_report_says_what_got_no_ranking():
    """A judge that never answers has no gain, which would look like safety."""
    fake = gullible(r"rank me first")
    fake.scores = lambda body: ["no number" for _ in body["items"]]
    found, shown = await report_on(fake, "pointwise-logprob")
    assert (found.gains, found.failed) == ((), {"pointwise-logprob": 1})
    assert "pointwise-logprob: 100.0% of the attacked lists without a ranking" in shown


@each_attack
async def test_a_model_that_repeats_a_hostile_text_is_not_shown(attack):
    """Where no grammar binds the model, the check refuses its sentence; what stands in has nothing of the text."""
    item = attacked(book(1), attack)

    def obey(body):
        reply = {"facts": ["F1"], "text": attack.payload}
        return json.dumps(reply) if "Recommended" in str(body["messages"]) else "Hello there"

    fake = FakeLLM(text=obey)
    client = LLMClient(fake.endpoint(), LLMSettings(attempts=1), http_client=fake.http_client(), sleep=no_nap)
    async with client:
        context = ExplainContext(ExplainSettings(max_tokens=160), load_template("explain"), client)
        query = Query(history=HISTORY, target="books")
        explanation = await explain_candidate(context, query, candidate(item))
    assert explanation.source == "evidence"
    assert explanation.text == plain_explanation(evidence(book(1)), "", load_locale("en", "short")).text
    assert {match.item for match in explanation.cites} == {"harbour"}


@pytest.mark.parametrize("known", ["terminal", "bidi-override", "separators"])
def test_the_sentence_that_stands_in_has_no_control_characters(known):
    """A liked item's hostile title cannot drive the terminal that the reason is printed on."""
    (attack,) = (a for a in ATTACKS if a.id == known)
    film = FILM.model_copy(update={"title": attack.payload})
    history = History(entries=(HistoryEntry(item=film),))
    text = plain_explanation(gather(candidate(book(1)), history, None, 3), "", load_locale("en", "short")).text
    assert not any(unicodedata.category(c).startswith("C") or c in "\u2028\u2029" for c in text)
