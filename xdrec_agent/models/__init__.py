"""Files of models. Reads names, produces verified model folders: downloads, conversion, adapters, merging."""

from xdrec_agent.models.adapters import (
    AdapterKind,
    AdapterManifest,
    BaseModelId,
    TrainingData,
    check_adapter_name,
    list_adapters,
    merged_adapters,
    merged_manifest_name,
    read_adapter_manifest,
    save_adapter,
)
from xdrec_agent.models.library import ModelStatus, find_model, list_models, pull_model, remove_model
from xdrec_agent.models.lora import LoraModel, LoraSettings, Tokenizer, load_tokenizer, open_llm_for_training
from xdrec_agent.models.merging import merge_adapter
from xdrec_agent.models.sources import Sources
from xdrec_agent.models.table import MODELS, ModelSpec

__all__ = [
    "MODELS",
    "AdapterKind",
    "AdapterManifest",
    "BaseModelId",
    "LoraModel",
    "LoraSettings",
    "ModelSpec",
    "ModelStatus",
    "Sources",
    "Tokenizer",
    "TrainingData",
    "check_adapter_name",
    "find_model",
    "list_adapters",
    "list_models",
    "load_tokenizer",
    "merge_adapter",
    "merged_adapters",
    "merged_manifest_name",
    "open_llm_for_training",
    "pull_model",
    "read_adapter_manifest",
    "remove_model",
    "save_adapter",
]
