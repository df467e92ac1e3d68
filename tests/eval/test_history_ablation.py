"""Promises of the source ablations: what is shown is what their names say, and everything else stays."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.data import FOLDS, Case, ShownHistory, ablation, fold, guard
from retrieval.errors import UsageError
from retrieval.types import History, HistoryEntry, Item


def case_of(user, *liked, cut=100, target="books"):
    """A case with these films, a preference each, at times that end at `cut` - 1."""
    entries = [
        HistoryEntry(
            item=Item(domain="films", id=f"{user} {n}", title="t"), preference=p, timestamp=cut - len(liked) + n
        )
        for n, p in enumerate(liked)
    ]
    return Case(user, "films", target, History(user=user, entries=tuple(entries)), ("b",), cut)


def same_fold(n):
    """That many users of one fold."""
    users = (f"u{number}" for number in range(100_000))
    return [user for user in users if fold(user, FOLDS) == 0][:n]


USERS = same_fold(40)
EVERYBODY = [case_of(user, *[1.0] * (3 + n % 7), cut=50 + 3 * n) for n, user in enumerate(USERS)]
preferences = st.lists(st.sampled_from([1.0, 0.5, 0.0, -1.0]), min_size=1, max_size=12).map(lambda p: [1.0, *p])


@given(preferences, st.sampled_from(get_args(ShownHistory)))
def test_nothing_but_the_history_changes_and_nothing_leaks(liked, shown):
    """User, direction, truth and cut are those of the case, and what is shown passes the guard."""
    case = case_of(USERS[0], *liked)
    found = ablation(shown, [case, *EVERYBODY[1:]], 0)(case)
    assert dataclasses.replace(found, history=case.history) == case
    guard(found)


def test_no_history_is_none_and_one_is_the_last_liked():
    """`one` keeps the most recent liked item, not the most recent one."""
    case = case_of("ada", 1.0, 1.0, -1.0)
    assert ablation("none", (), 0)(case).history.entries == ()
    assert [e.item.id for e in ablation("one", (), 0)(case).history.entries] == ["ada 1"]
    assert ablation("own", (), 0)(case) is case


@given(preferences, st.integers(0, 5))
def test_shuffling_permutes_preferences_and_times_and_keeps_the_items(liked, seed):
    """The same items, the same preferences, the same times, oldest first; the same seed shuffles alike."""
    case = case_of("ada", *liked)
    found, again = (ablation("shuffled", (), seed)(case).history for _ in range(2))
    assert found == again
    before = case.history.entries
    for what in ("item.id", "preference", "timestamp"):

        def values(entries, what=what):
            return Counter(e.item.id if what == "item.id" else getattr(e, what) for e in entries)

        assert values(found.entries) == values(before)
    assert [e.timestamp for e in found.entries] == sorted(e.timestamp for e in found.entries)


def test_shuffling_parts_preferences_from_times():
    """A disliked last item does not stay the last one everywhere, nor does dislike always go with being last."""
    case = case_of("ada", *[1.0] * 7, -1.0)
    shuffled = [ablation("shuffled", (), seed)(case).history.entries for seed in range(40)]
    assert len({entries[-1].item.id for entries in shuffled}) > 3
    assert len({next(e.item.id for e in entries if e.disliked) for entries in shuffled}) > 3
    assert len({next(e.timestamp for e in entries if e.disliked) for entries in shuffled}) > 3


@pytest.mark.parametrize("users", [2, 3, 4, 5, 40])
def test_everybody_gets_another_users_history_and_every_history_is_given_once(users):
    """A derangement, for even and odd numbers of users, that the seed alone decides."""
    some = EVERYBODY[:users]
    show, again = ablation("other", some, 1), ablation("other", list(reversed(some)), 1)
    donors = [show(case).history.user for case in some]
    assert sorted(donors) == sorted(case.user for case in some)
    assert all(donor != case.user for donor, case in zip(donors, some, strict=True))
    assert donors == [again(case).history.user for case in some]


def test_another_seed_gives_other_histories():
    """Among users whose histories are equally long."""
    alike = [case_of(user, 1.0, 1.0, 1.0) for user in USERS]
    given_ = [[ablation("other", alike, seed)(case).history.user for case in alike] for seed in range(2)]
    assert given_[0] != given_[1]


def test_the_other_history_is_about_as_long_and_ends_when_the_users_own_did():
    """Neighbours by length; gaps between its times stay, and they stay before the cut."""
    show = ablation("other", EVERYBODY, 0)
    by_user = {case.user: case.history for case in EVERYBODY}
    for case in EVERYBODY:
        found = show(case).history
        original = by_user[found.user]
        assert [e.item for e in found.entries] == [e.item for e in original.entries]
        moved = {a.timestamp - b.timestamp for a, b in zip(found.entries, original.entries, strict=True)}
        assert len(moved) == 1
        assert found.entries[-1].timestamp == case.history.entries[-1].timestamp
        assert abs(len(found.liked) - len(case.history.liked)) <= 1


def test_histories_are_exchanged_within_a_direction_and_a_fold():
    """Else the crowd would know whose history is shown, and what they went on to like."""
    mixed = [case_of(f"u{n}", 1.0, 1.0, 1.0, target=target) for n in range(60) for target in ("books", "music")]
    show = ablation("other", mixed, 0)
    for case in mixed:
        assert fold(show(case).history.user, FOLDS) == fold(case.user, FOLDS)
    only_music = [case for case in mixed if case.target == "music"]
    assert [show(c).history for c in only_music] == [ablation("other", only_music, 0)(c).history for c in only_music]


def test_a_user_alone_cannot_get_anothers_history():
    """A clear error; never their own."""
    with pytest.raises(UsageError, match="nobody else") as refused:
        ablation("other", EVERYBODY[:1], 0)(EVERYBODY[0])
    assert refused.value.hint
