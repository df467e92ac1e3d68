"""Promises of arms: everybody stays where they are, shares hold, an arm changes what it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import UsageError
from xdrec_agent.app import arm_of, settings_by_arm
from xdrec_agent.settings import ArmSettings, ServiceSettings, Settings

shares = st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=6)


@given(st.text(min_size=1), shares)
def test_a_user_is_in_one_arm_always(user, given_shares):
    """The same arm every time, one of those that there are."""
    arms = [ArmSettings(name=f"arm-{n}", share=share) for n, share in enumerate(given_shares)]
    assert arm_of(user, arms) == arm_of(user, arms)
    assert arm_of(user, arms) in {arm.name for arm in arms}


def test_shares_hold():
    """Of 10,000 users about a fifth are in an arm with a fifth of the shares (six standard deviations allowed)."""
    arms = [ArmSettings(name="a", share=4), ArmSettings(name="b", share=1)]
    count = sum(arm_of(f"user-{n}", arms) == "b" for n in range(10_000))
    assert abs(count - 2000) < 6 * (10_000 * 0.2 * 0.8) ** 0.5


def test_a_new_comparison_shuffles_anew():
    """Who was in B of one comparison is not in B of all others."""
    first = [ArmSettings(name="a", share=1), ArmSettings(name="b", share=1)]
    second = [ArmSettings(name="c", share=1), ArmSettings(name="d", share=1)]
    both = [arm_of(f"user-{n}", first) == "b" and arm_of(f"user-{n}", second) == "d" for n in range(4000)]
    assert abs(sum(both) - 1000) < 6 * (4000 * 0.25 * 0.75) ** 0.5


def test_nobody_is_in_the_first_arm_and_without_arms_there_is_none():
    """A request without a user cannot be assigned."""
    assert arm_of(None, [ArmSettings(name="a", share=1), ArmSettings(name="b", share=9)]) == "a"
    assert arm_of("ada", []) == ""


def test_an_arm_changes_its_sections_only():
    """What it does not name is as configured."""
    arm = ArmSettings(name="b", share=1, settings={"rerank": {"strategy": "identity"}})
    settings = Settings(service=ServiceSettings(arms=(ArmSettings(name="a", share=1), arm)))
    by_arm = settings_by_arm(settings)
    assert by_arm["a"] == settings
    assert by_arm["b"].rerank.strategy == "identity"
    assert by_arm["b"].retriever == settings.retriever


@pytest.mark.parametrize(
    "arms",
    [
        [{"name": "a", "share": 1}, {"name": "a", "share": 1}],
        [{"name": "a", "share": 1, "settings": {"llm": {"model": "x"}}}],
        [{"name": "a", "share": 1, "settings": {"rerank": {"weight": 7}}}],
        [{"name": "a", "share": 1, "settings": {"rerank": {"wieght": 0.5}}}],
    ],
)
def test_arms_that_make_no_sense_are_refused(arms):
    """Two of one name, a section that is shared by all, a value out of range, a name that is none."""
    with pytest.raises(UsageError) as caught:
        settings_by_arm(Settings(service=ServiceSettings(arms=tuple(ArmSettings(**arm) for arm in arms))))
    assert caught.value.hint
