"""A two-tower retrieval model of TensorFlow Recommenders. Reads an export, produces rankings.

The candidate tower sees an item's id and words, the query tower those of what somebody liked; an item that nobody
touched has no id of its own, only words. Trained to tell what else the person liked from the rest of the batch
(`tfrs.tasks.Retrieval`, sampled softmax corrected for popularity; Yi et al. 2019).
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tensorflow-recommenders is written for Keras 2

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from exchange import Scores, Unit, answer

SETTINGS = {"dimension": 32, "epochs": 2, "batch": 512, "learning_rate": 0.005, "history": 10, "words": 20_000}
TEXT_LENGTH = 24
SAID_NOTHING = 0
"""Row of the id table that untouched items share, and padding."""


class Tower(tf.keras.Model):
    """Item numbers, shape (batch, length), to one vector each, shape (batch, dimension); padding is -1."""

    def __init__(self, ids: np.ndarray, words: np.ndarray) -> None:
        super().__init__()
        self.ids, self.words = tf.constant(ids), tf.constant(words)
        self.of_ids = tf.keras.layers.Embedding(int(ids.max()) + 1, SETTINGS["dimension"])
        self.of_words = tf.keras.layers.Embedding(SETTINGS["words"], SETTINGS["dimension"])
        self.dense = tf.keras.layers.Dense(SETTINGS["dimension"])

    def call(self, items: tf.Tensor) -> tf.Tensor:
        """The mean over the items, mapped."""
        there = tf.cast(items >= 0, tf.float32)[..., None]
        items = tf.maximum(items, 0)
        ids, words = tf.gather(self.ids, items), tf.gather(self.words, items)
        own = self.of_ids(ids) * tf.cast(ids > 0, tf.float32)[..., None]
        spoken = tf.cast(words > 0, tf.float32)[..., None]
        text = tf.reduce_sum(self.of_words(words) * spoken, -2) / tf.maximum(tf.reduce_sum(spoken, -2), 1)
        both = tf.concat([own, text], -1) * there
        return self.dense(tf.reduce_sum(both, -2) / tf.maximum(tf.reduce_sum(there, -2), 1))


class TwoTower(tfrs.Model):
    """Histories and items in one space."""

    def __init__(self, ids: np.ndarray, words: np.ndarray) -> None:
        super().__init__()
        self.query, self.candidate = Tower(ids, words), Tower(ids, words)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Of a batch of histories and of one further item each."""
        return self.task(
            self.query(inputs["history"]),
            self.candidate(inputs["item"][:, None]),
            candidate_ids=inputs["item"],
            candidate_sampling_probability=inputs["share"],
            compute_metrics=False,
        )


def score(unit: Unit) -> Scores:
    """Fit on what was liked in both domains; scores of shape (cases, target items)."""
    tf.keras.utils.set_random_seed(0)
    liked: list[list[int]] = [[] for _ in range(unit.people)]
    for touch in unit.liked:
        liked[touch.person].append(touch.item)
    ids = np.where(unit.seen, np.cumsum(unit.seen), SAID_NOTHING).astype(np.int32)
    reads = tf.keras.layers.TextVectorization(SETTINGS["words"], output_sequence_length=TEXT_LENGTH)
    reads.adapt(tf.data.Dataset.from_tensor_slices(unit.texts).batch(4096))
    words = np.concatenate(
        [reads(tf.constant(unit.texts[at : at + 4096])).numpy() for at in range(0, len(unit.texts), 4096)]
    ).astype(np.int32)
    model = TwoTower(ids, words)
    model.compile(optimizer=tf.keras.optimizers.Adam(SETTINGS["learning_rate"]))
    model.fit(_pairs(liked, len(unit.items)), epochs=SETTINGS["epochs"], verbose=0)
    asked = model.query(_padded(liked[unit.first_case :])).numpy()
    targets = np.arange(unit.first_target, len(unit.items), dtype=np.int32)[:, None]
    found = [model.candidate(targets[at : at + 4096]).numpy() for at in range(0, len(targets), 4096)]
    return asked @ np.concatenate(found).T


def _pairs(liked: list[list[int]], items: int) -> tf.data.Dataset:
    """What each person liked, one item at a time, with the rest as history."""
    pairs = [(item, [other for other in mine if other != item]) for mine in liked if len(mine) > 1 for item in mine]
    found = np.array([item for item, _ in pairs], dtype=np.int32)
    share = np.bincount(found, minlength=items)[found] / len(found)
    data = {"item": found, "history": _padded([rest for _, rest in pairs]), "share": share.astype(np.float32)}
    return tf.data.Dataset.from_tensor_slices(data).shuffle(len(found), seed=0).batch(SETTINGS["batch"])


def _padded(histories: list[list[int]]) -> np.ndarray:
    """At most `history` random items of each, -1 where there are fewer; shape (histories, `history`)."""
    rng = np.random.default_rng(0)
    rows = np.full((len(histories), SETTINGS["history"]), -1, dtype=np.int32)
    for row, mine in zip(rows, histories, strict=True):
        kept = rng.permutation(mine)[: len(row)]
        row[: len(kept)] = kept
    return rows


if __name__ == "__main__":
    answer(score, SETTINGS, ("tensorflow", "tensorflow-recommenders", "tf-keras", "numpy"))
