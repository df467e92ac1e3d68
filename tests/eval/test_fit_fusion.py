"""Promises of the fit of the sources' weights: it finds what made the picks, from nobody's own data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from word_encoder import WordEncoder

from eval.data import FOLDS, TEST_FOLD, Dataset, OutOfFold, cases, fitting_fold, fold, histories
from eval.fitting import choice_sets, cross_fit_weights, fit_weights
from eval.fitting.fusion import DRAWN, ChoiceSets, fit_fusion
from retrieval.errors import DataError
from retrieval.index import Index
from retrieval.ranking import SIGNALS, UNFITTED_WEIGHTS
from retrieval.settings import IndexSettings, RetrieverSettings
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import Interaction, Item, Query

DOMAINS = ("films", "books")
TASTES = ("space", "crime", "love")
PEOPLE = 40
NAMES = tuple(signal for signal in SIGNALS if signal not in UNFITTED_WEIGHTS)


def interactions():
    """Each person likes three films of a taste, then two books of it; every book beyond the fifth is untouched."""
    for n in range(PEOPLE):
        taste, user = TASTES[n % len(TASTES)], f"user {n}"
        for m in range(3):
            yield Interaction(user=user, domain="films", item=f"{taste}-{(n + m) % 5}", value=5, timestamp=m)
        for m in range(2):
            yield Interaction(user=user, domain="books", item=f"{taste}-{(n * 2 + m) % 5}", value=5, timestamp=10 + m)
    # What one person alone touched is unseen for them.
    yield Interaction(user="user 0", domain="books", item="space-9", value=5, timestamp=12)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    home = tmp_path_factory.mktemp("fusion")
    items = [
        Item(domain=domain, id=f"{taste}-{n}", title=f"{taste} {domain} {n}", description=f"{taste} {taste}{n}")
        for domain in DOMAINS
        for taste in TASTES
        for n in range(10)
    ]
    with (
        Store.open(f"sqlite:///{home / 'store.sqlite'}") as store,
        Index(home / "index", WordEncoder(), load_template("item"), IndexSettings()) as index,
    ):
        store.upsert_items(items, "run")
        store.upsert_interactions(list(interactions()), "run")
        for domain in DOMAINS:
            index.build(store, domain)
        yield Dataset(store, index, home, DOMAINS)


@pytest.fixture(scope="module")
def asked(data):
    return [case for person in histories(data.store) for case in cases(person, DOMAINS) if case.target == "books"]


@pytest.fixture(scope="module")
def picks(data, asked):
    return choice_sets(data, asked, OutOfFold(data), np.random.default_rng(0), lambda _: None)


def synthetic(bases, slopes, people=4_000, drawn=30, seed=0):
    """Picks of people who choose with probability proportional to exp(Σ (base + slope · log n) · f)."""
    rng = np.random.default_rng(seed)
    # Each source on a scale of its own, as the real ones are.
    says = rng.standard_normal((people, drawn, len(NAMES))) * np.array([0.2, 10, 0.3, 2, 1])
    liked = np.log(rng.integers(3, 60, people))
    worth = np.einsum("pcs,ps->pc", says, np.asarray(bases) + np.outer(liked, slopes))
    picked = (worth + rng.gumbel(size=worth.shape)).argmax(axis=1)
    everyone = np.arange(people)
    says[everyone, 0], says[everyone, picked] = says[everyone, picked], says[everyone, 0].copy()
    users = tuple(f"u{n}" for n in range(people))
    return ChoiceSets(users, says.astype(np.float32), liked.astype(np.float32), np.ones(people, np.float32))


def test_weights_are_found_again():
    """Of picks drawn from a known model the fit finds its weights, slopes among them, whatever the scales."""
    bases, slopes = [2.0, 0.1, 3.0, 0.2, 0.4], [2.0, 0.0, 0.0, 0.1, -0.05]
    found = fit_fusion(synthetic(bases, slopes), "test", "hash", "encoder")
    for name, base, slope, scale in zip(NAMES, bases, slopes, [0.2, 10, 0.3, 2, 1], strict=True):
        for n in (5, 20, 50):
            error = found.weights[name].at(n) - (base + slope * np.log(n))
            assert abs(error) * scale < 0.15, name
    assert (found.users, found.picks) == (4_000, 4_000)
    assert (found.made_by, found.data, found.encoder) == ("test", "hash", "encoder")


def test_what_says_nothing_gets_no_weight():
    """A source that says the same of everything, and one that guesses, have next to no weight beside one that knows."""
    picks = synthetic([5.0, 0, 0, 0, 0], [0] * 5)
    picks.says[..., NAMES.index("popularity")] = 3
    found = fit_fusion(picks, "", "", "").weights
    assert found["text"].at(10) == pytest.approx(5, rel=0.2)
    assert found["popularity"].base == found["popularity"].slope == 0
    assert abs(found["bm25"].at(10)) * 10 < 0.1


def test_a_case_of_many_picks_counts_like_one_of_a_single_pick():
    """Shares weigh the picks: a case told twice with half the share gives the same weights."""
    one = synthetic([2, 0.1, 1, 0.2, 0.3], [0] * 5, people=200)
    twice = ChoiceSets(*(np.concatenate([part, part]) for part in (one.users, one.says, one.liked)), np.full(400, 0.5))
    first, second = (fit_fusion(p, "", "", "").weights for p in (one, twice))
    for name in NAMES:
        assert second[name].base == pytest.approx(first[name].base, rel=0.02, abs=0.02)


def test_others_hold_nobody_of_the_cases_fold(data, asked):
    """The signals of a case has everybody of the other folds, and neither the case's user nor anybody of their fold."""
    others = OutOfFold(data)
    everybody = {f"user {n}" for n in range(PEOPLE)}
    for case in asked:
        signals = others.retriever(case, RetrieverSettings()).collaborative()
        own = {user for user in everybody if fold(user, FOLDS) == fold(case.user, FOLDS)}
        assert case.user in own
        assert set(signals.interactions.users) == everybody - own
    assert len({id(others.retriever(case, RetrieverSettings()).collaborative()) for case in asked}) <= FOLDS


def test_what_one_fold_alone_did_is_not_said_in_it(data, asked):
    """A book that nobody but the case's user touched gets nothing from the signals."""
    case = next(c for c in asked if c.user == "user 0")
    voices = (
        OutOfFold(data)
        .retriever(case, RetrieverSettings())
        .signal_scores(Query(history=case.history, target="books"), dict.fromkeys(NAMES, 1.0))
    )
    row = data.index.snapshot("books").positions["space-9"]
    assert [float(voices[s][row]) for s in ("popularity", "cooccurrence", "neighbours")] == [0, 0, 0]
    assert voices["popularity"].max() > 0


def test_picks_compare_seen_with_seen_and_unseen_with_unseen(picks):
    """Beside a truth that the training users touched stand only such items, beside another one only untouched ones."""
    popular = picks.says[:, :, NAMES.index("popularity")] > 0
    assert picks.says.shape == (len(picks.users), 1 + DRAWN, len(NAMES))
    assert (popular == popular[:, :1]).all()
    assert popular[:, 0].any()
    assert not popular[:, 0].all()


def test_picks_know_whose_they_are(picks, asked):
    """Each liked truth is a pick with the size of the history; the shares of a case sum to 1."""
    assert len(picks.users) == sum(len(case.truth) for case in asked)
    np.testing.assert_allclose(picks.liked, np.log(3), rtol=1e-6)
    shares = {user: picks.share[np.array(picks.users) == user].sum() for user in picks.users}
    np.testing.assert_allclose(list(shares.values()), 1, rtol=1e-6)


def test_picks_of_others_leave_out_a_part(picks):
    """`of_others` keeps exactly the users of the other parts, with what was said to them."""
    left = picks.of_others(1)
    kept = [at for at, user in enumerate(picks.users) if fitting_fold(user) != 1]
    assert 0 < len(kept) < len(picks.users)
    assert left.users == tuple(picks.users[at] for at in kept)
    np.testing.assert_array_equal(left.says, picks.says[kept])
    np.testing.assert_array_equal(left.share, picks.share[kept])


def test_the_shipped_fit_uses_nobody_of_the_test_fold(data):
    """Only people of the other folds count, and the fit names the encoder and how it was made."""
    found = fit_weights(data, "xdrec-eval fit", np.random.default_rng(0), lambda _: None)
    people = [h for h in histories(data.store) if any(cases(h, DOMAINS))]
    allowed = [h for h in people if fold(h.user, FOLDS) != TEST_FOLD]
    assert found.users == len(allowed) < len(people)
    assert found.encoder == WordEncoder().name
    assert found.weights["text"].at(3) > 0


def test_the_shipped_fit_uses_nobody_whom_the_encoder_has_met(data):
    """Where the encoder has learnt from people, the others are fitted on, of whatever fold."""
    met = frozenset(f"user {n}" for n in range(PEOPLE // 2))
    found = fit_weights(replace(data, training_users=met), "", np.random.default_rng(0), lambda _: None)
    assert found.users == sum(any(cases(h, DOMAINS)) for h in histories(data.store) if h.user not in met)


def test_a_users_weights_come_from_the_people_of_other_parts(data):
    """A user's fit counts everybody who has a case but those of the user's part; too few people are an error."""
    training = list(histories(data.store))
    weights = cross_fit_weights(data, training, OutOfFold(data), np.random.default_rng(0), lambda _: None)
    parts = [fitting_fold(person.user) for person in training if any(cases(person, DOMAINS))]
    for user in ("user 0", "user 1", "user 2", "somebody else"):
        assert weights(user).users == len(parts) - parts.count(fitting_fold(user))
    for few in (training[:1], []):
        with pytest.raises(DataError, match="too few people") as refused:
            cross_fit_weights(data, few, OutOfFold(data), np.random.default_rng(0), lambda _: None)
        assert refused.value.hint
