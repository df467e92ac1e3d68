"""The plan of a measurement. Reads histories and a split, produces guarded cases and what may be learnt for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from eval.data.history_ablation import Ablate, ShownHistory, ablation
from eval.data.leakage import guard_training, guarded_cases
from eval.data.out_of_fold import OutOfFold
from eval.data.protocols import Case, Split, SplitName, cases, histories, split_of
from eval.data.sources import Dataset, Say
from retrieval.folds import stable_hash
from retrieval.types import History


@dataclass(frozen=True)
class CasePlan:
    """Who is asked, and what may be learnt for it; made by `plan_cases`.

    Attributes:
        people: all users' whole histories, in an order by hash.
        training: the parts of them that may be learnt from, in the same order.
        others: retrievers and counts out of fold.
    """

    data: Dataset
    seed: int
    split: Split
    people: list[History]
    training: list[History]
    others: OutOfFold

    def by_user(self) -> Iterator[tuple[History, list[Case]]]:
        """The users who have a case and whom no model in use was trained on, with their guarded cases.

        Raises:
            DataError: a case leaks.
        """
        for person in self.data.without_training_users(self.people):
            if own := list(guarded_cases(person, self.data.domains, self.split)):
                yield person, own

    def cases(self, users: int) -> list[Case]:
        """All cases of the first `users` of them. Raises as `by_user`."""
        return [case for _, own in islice(self.by_user(), users) for case in own]

    def ablation(self, shown: ShownHistory) -> Ablate:
        """How cases are shown; another user's history may be that of any user of the data."""
        everybody = (case for person in self.people for case in cases(person, self.data.domains, self.split))
        return ablation(shown, everybody, self.seed)


def plan_cases(
    data: Dataset, split: SplitName = "cold-target", seed: int = 0, say: Say = lambda _line: None
) -> CasePlan:
    """Read all histories, split them, and make sure that nothing is learnt from what the split hides.

    Raises:
        DataError: training data leaks, or a temporal split finds no time.
    """
    say("reading histories")
    people = in_hash_order(histories(data.store), seed)
    made = split_of(split, people)
    if made.moment is not None:
        say(f"the moment between history and truth is {datetime.fromtimestamp(made.moment, UTC):%Y-%m-%d %H:%M} UTC")
    training = [made.learnable(person) for person in people]
    guard_training(training, made)
    others = OutOfFold(data, None if made.moment is None else training)
    return CasePlan(data, seed, made, people, training, others)


def in_hash_order(people: Iterable[History], seed: int) -> list[History]:
    """The people in an order that has nothing to do with them; the first n are a random sample."""
    return sorted(people, key=lambda person: stable_hash(f"choice {seed} {person.user or ''}"))
