"""Surprise's SVD (Funk 2006, biased). Reads an export, produces rankings by predicted rating.

One matrix of the ratings of both domains; the cases' users are known by their source ratings. An item that nobody rated
has the mean rating, so that all of them are tied.
"""

from __future__ import annotations

import numpy as np
from exchange import Scores, Unit, answer
from surprise import SVD, Dataset, Reader

SETTINGS = {"n_factors": 100, "n_epochs": 20}


def score(unit: Unit) -> Scores:
    """Fit on all ratings; scores of shape (cases, target items)."""
    ratings = [(touch.person, touch.item, touch.rating, None) for touch in unit.touches]
    training = Dataset(Reader(rating_scale=(1, 5))).construct_trainset(ratings)
    model = SVD(**SETTINGS, random_state=0)
    model.fit(training)
    people = np.array([training.to_inner_uid(row) for row in range(unit.first_case, unit.people)])
    targets = range(unit.first_target, len(unit.items))
    known = [(column - unit.first_target, training.to_inner_iid(column)) for column in targets if unit.seen[column]]
    at, inner = np.array(known).T
    # What `predict` says of one pair, for all of them; not cut off at 1 and 5, which would only add ties.
    scores = np.tile(training.global_mean + model.bu[people, None], (1, len(targets)))
    scores[:, at] += model.bi[inner] + model.pu[people] @ model.qi[inner].T
    return scores


if __name__ == "__main__":
    answer(score, SETTINGS, ("scikit-surprise", "numpy"))
