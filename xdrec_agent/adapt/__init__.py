"""Adaptation of the language model. Reads a store, produces adapters: small additions to a model's weights.

Two kinds are trained. A *list* adapter learns to choose among candidates, from prompts that are exactly those the
reranker sends (`training_lists`, `list_prompts`). A *text* adapter goes on with pretraining on a domain's item texts
(`continued`). `training` is the loop that both share, `adapters` keeps, lists and merges what came of it.
"""

from xdrec_agent.adapt.encoder_runs import EncoderRunSettings, encoded, train_taste, train_views
from xdrec_agent.adapt.llm_runs import SHAPES, Judged, RunSettings, train_lists, train_texts
from xdrec_agent.adapt.run import Place
from xdrec_agent.adapt.training_lists import Pair, ordered_pairs

__all__ = [
    "SHAPES",
    "EncoderRunSettings",
    "Judged",
    "Pair",
    "Place",
    "RunSettings",
    "encoded",
    "ordered_pairs",
    "train_lists",
    "train_taste",
    "train_texts",
    "train_views",
]
