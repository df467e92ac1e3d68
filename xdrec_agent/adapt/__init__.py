"""Adaptation of the models. Reads a store and base models, produces adapters in the home folder.

The encoder learns from preferences or from catalogues. The language model learns to judge candidates, from exactly the
prompts that the reranker sends, or reads on in a domain's item texts.
"""

from xdrec_agent.adapt.adapter_training import Workspace
from xdrec_agent.adapt.encoder_training import (
    EncoderTrainingSettings,
    encode_with_adapter,
    train_on_item_views,
    train_on_preferences,
)
from xdrec_agent.adapt.llm_training import (
    LIST_SETTINGS,
    LLMTrainingSettings,
    TrainableJudge,
    train_judge,
    train_on_texts,
)
from xdrec_agent.adapt.lora_llm import LoraSettings, open_llm_for_training
from xdrec_agent.adapt.prompts import check_adapter, check_served_adapters
from xdrec_agent.adapt.training_lists import Pair, ordered_pairs

__all__ = [
    "LIST_SETTINGS", "EncoderTrainingSettings", "LLMTrainingSettings", "LoraSettings", "Pair", "TrainableJudge",
    "Workspace", "check_adapter", "check_served_adapters", "encode_with_adapter", "open_llm_for_training",
    "ordered_pairs", "train_judge", "train_on_item_views", "train_on_preferences", "train_on_texts",
]  # fmt: skip
