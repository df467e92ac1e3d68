"""Files of models. Reads names, produces verified model folders: sources, conversion, adapters, merging."""

from xdrec_agent.models.adapters import (
    ANSWERS,
    AdapterKind,
    AdapterManifest,
    BaseModelId,
    TrainingData,
    Wrapped,
    check_name,
    check_served,
    list_adapters,
    merged_into,
    read_manifest,
    save_adapter,
)
from xdrec_agent.models.lora import LoraShape, Tokenizer, TrainedModel, load_tokenizer, open_for_training
from xdrec_agent.models.merging import merge

__all__ = [
    "ANSWERS",
    "AdapterKind",
    "AdapterManifest",
    "BaseModelId",
    "LoraShape",
    "Tokenizer",
    "TrainedModel",
    "TrainingData",
    "Wrapped",
    "check_name",
    "check_served",
    "list_adapters",
    "load_tokenizer",
    "merge",
    "merged_into",
    "open_for_training",
    "read_manifest",
    "save_adapter",
]
