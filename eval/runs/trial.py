"""An A/B that stops when it knows. Reads two arms and tasks, produces looks after every batch and a decision.

Both arms rerank the same users, batch by batch, in an order that has nothing to do with them. After each batch the
confidence sequence of the paired difference says whether to go on; it stays valid however often one looks, which a
p-value does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.data import RerankTask, Say
from eval.runs.comparison import Arm, cost_notes
from eval.runs.folder import CaseResult, RunFolder
from eval.runs.rerank import run_rerank
from eval.stats import ConfidenceSequence, Decision, SequentialInterval, StoppingRule, number_text, users_to_decide
from retrieval.errors import UsageError
from retrieval.types import Frozen
from xdrec_agent.rerank import RerankContext


@dataclass(frozen=True)
class LiveArm:
    """An arm that is being run: where its cases are kept and how it reranks."""

    folder: RunFolder
    context: RerankContext


class TrialResult(Frozen):
    """How a trial went.

    Attributes:
        looks: mean difference B - A in `metric`, with its interval, after each batch.
        decision: why it stopped.
        requests: LLM requests of both arms, those that the response cache answered included.
        saved: share of the requests that all `offered` users would have taken.
        margin: the largest difference that does not matter.
        wanted: users that would probably decide; None: it is decided, or more than can be foreseen.
    """

    arms: tuple[Arm, Arm]
    metric: str
    margin: float
    looks: tuple[SequentialInterval, ...]
    decision: Decision
    offered: int
    requests: int
    saved: float
    wanted: int | None

    @property
    def verdict(self) -> str:
        """In a sentence."""
        a, b = (arm.manifest.name for arm in self.arms)
        last = self.looks[-1]
        mean, low, high = (number_text(value, 3) for value in (last.mean, last.low, last.high))
        found = f"{b} - {a} = {mean} {self.metric} [{low}, {high}]"
        seen = f"n = {last.users:,}"
        if self.saved:
            seen += f" of {self.offered:,} users, {self.saved:.0%} of the requests saved"
        seen = ", ".join([seen, *cost_notes(*self.arms)])
        if self.decision is Decision.DIFFERENCE:
            ahead, behind = (b, a) if last.mean > 0 else (a, b)
            return f"{ahead} beats {behind}: {found}, {seen}"
        if self.decision is Decision.NO_RELEVANT_DIFFERENCE:
            return f"no relevant difference: {found}, {seen}"
        wanted = "more users than can be foreseen" if self.wanted is None else f"about {self.wanted:,} users"
        return f"cannot tell yet: {found}, {seen}; {wanted} would decide"


async def trial(
    arms: tuple[LiveArm, LiveArm],
    tasks: Sequence[RerankTask],
    metric: str,
    rule: StoppingRule,
    batch: int,
    repeats: int,
    at_once: int,
    say: Say,
) -> TrialResult:
    """Run until the rule says stop, or no users are left. A stopped trial goes on: its cases are in the run folders.

    Raises:
        UsageError: no tasks, or the arms have no such metric.
    """
    if not tasks:
        raise UsageError("no users to try the arms on", hint="look at --data and --users")
    sequence, looks, decision = ConfidenceSequence(), list[SequentialInterval](), Decision.GO_ON
    requests = 0
    for start in range(0, len(tasks), batch):
        now = tasks[start : start + batch]
        for arm in arms:
            await run_rerank(arm.folder, arm.context, tasks[: start + len(now)], repeats, at_once, say)
        a, b = ({r.user: r for r in arm.folder.results()} for arm in arms)
        users = [task.case.user for task in now]
        if metric not in a[users[0]].metrics:
            raise UsageError(f"no metric {metric}", hint=f"one of: {', '.join(a[users[0]].metrics)}")
        spent = sum(_asked(arm[user]) for arm in (a, b) for user in users)
        requests += spent
        looks.append(sequence.update([b[u].metrics[metric] - a[u].metrics[metric] for u in users]))
        decision = rule.decide(looks[-1], requests=requests, batch_requests=spent)
        say(f"{looks[-1].users} users: {looks[-1].mean:+.4f} [{looks[-1].low:+.4f}, {looks[-1].high:+.4f}], {decision}")
        if decision is not Decision.GO_ON:
            break
    decision = Decision.LIMIT if decision is Decision.GO_ON else decision
    undecided = decision is Decision.LIMIT
    first, second = (Arm(manifest=arm.folder.manifest, summary=arm.folder.finish()) for arm in arms)
    return TrialResult(
        arms=(first, second),
        metric=metric,
        margin=rule.margin,
        looks=tuple(looks),
        decision=decision,
        offered=len(tasks),
        requests=requests,
        saved=1 - looks[-1].users / len(tasks),
        wanted=users_to_decide(sequence.seen, rule.margin, np.random.default_rng(0)) if undecided else None,
    )


def _asked(result: CaseResult) -> int:
    return result.usage.requests + result.usage.cache_hits
