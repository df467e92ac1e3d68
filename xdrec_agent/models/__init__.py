"""Files of models. Reads names, produces verified model folders: downloads, conversion, adapters, merging."""

from xdrec_agent.models.adapters import (
    AdapterKind,
    AdapterManifest,
    BaseModelId,
    TrainingData,
    check_adapter_name,
    list_adapters,
    merge_adapter,
    merged_adapters,
    merged_manifest_name,
    read_adapter_manifest,
    save_adapter,
)
from xdrec_agent.models.library import ModelStatus, find_model, list_models, pull_model, remove_model
from xdrec_agent.models.loading import chat_token_ids, label_token_ids, load_llm, load_tokenizer, token_ids
from xdrec_agent.models.sources import Sources
from xdrec_agent.models.table import MODELS, ModelSpec

__all__ = [
    "MODELS", "AdapterKind", "AdapterManifest", "BaseModelId", "ModelSpec", "ModelStatus", "Sources",
    "TrainingData", "chat_token_ids", "check_adapter_name", "find_model", "label_token_ids", "list_adapters",
    "list_models", "load_llm", "load_tokenizer", "merge_adapter", "merged_adapters", "merged_manifest_name",
    "pull_model", "read_adapter_manifest", "remove_model", "save_adapter", "token_ids",
]  # fmt: skip
