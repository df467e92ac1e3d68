"""LightFM with the words of items as features (Kula 2015). Reads an export, produces rankings.

An item is the sum of its own embedding and those of its words; one that nobody in the matrix touched has its words
alone, so that cold items are told apart.
"""

from __future__ import annotations

import numpy as np
from exchange import Scores, Unit, answer
from lightfm import LightFM
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

SETTINGS = {"loss": "warp", "no_components": 32, "learning_rate": 0.05, "user_alpha": 0.001, "item_alpha": 0.001}
EPOCHS = 15
MIN_DF = 5


def score(unit: Unit) -> Scores:
    """Fit on what was liked in both domains; scores of shape (cases, target items)."""
    liked = unit.liked
    rows, columns = [t.person for t in liked], [t.item for t in liked]
    shape = (unit.people, len(unit.items))
    matrix = sparse.coo_matrix((np.ones(len(liked), dtype=np.float32), (rows, columns)), shape=shape)
    features = _features(unit)
    model = LightFM(**SETTINGS, random_state=0)
    model.fit(matrix, item_features=features, epochs=EPOCHS, num_threads=1)
    biases, items = model.get_item_representations(features)
    _, people = model.get_user_representations()
    return people[unit.first_case :] @ items[unit.first_target :].T + biases[unit.first_target :]


def _features(unit: Unit) -> sparse.csr_matrix:
    """The item itself, where somebody touched it, and its words by TF-IDF; each part of unit length."""
    words = TfidfVectorizer(min_df=MIN_DF, stop_words="english").fit_transform(unit.texts)
    itself = sparse.diags_array(unit.seen.astype(np.float64))
    return sparse.csr_matrix(sparse.hstack([itself, words]), dtype=np.float32)


if __name__ == "__main__":
    answer(score, SETTINGS | {"epochs": EPOCHS, "min_df": MIN_DF}, ("lightfm-next", "numpy", "scipy", "scikit-learn"))
