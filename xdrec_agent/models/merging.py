"""Merging of adapters. Reads a base model and an adapter, produces a plain model folder.

An adapter that vLLM serves beside the base costs most of its prompt speed on a CPU; merged into the weights it costs
nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import DataError
from retrieval.files import atomic_folder, translated_writes
from xdrec_agent.models.adapters import (
    ADAPTER_MANIFEST,
    BaseModelId,
    merged_manifest_name,
    read_adapter_manifest,
)
from xdrec_agent.models.lora import LoraModel, load_base
from xdrec_agent.models.manifest import ModelManifest
from xdrec_agent.models.table import ModelSpec

if TYPE_CHECKING:
    from retrieval.adapt import Device


def merge_adapter(adapter: Path, base_folder: Path, base_name: str, models_dir: Path) -> Path:
    """Add an adapter to its base model's weights; returns the new folder under `models_dir`.

    Raises:
        UsageError: the adapter is for another base model.
        DataError: its weights cannot be read.
        BackendError: the folder cannot be written; an older one stays.
    """
    manifest = read_adapter_manifest(adapter)
    manifest.check_base(BaseModelId.of(base_name, base_folder))  # before anything is written
    target = models_dir / f"{Path(base_name).name}--{manifest.name}"
    base_manifest = ModelManifest.read(base_folder)
    licence = (base_manifest.licence if base_manifest else None) or ""
    spec = ModelSpec(target.name, manifest.section, licence, hub_id="")
    with translated_writes(target, "make room and run the same command again"), atomic_folder(target) as folder:
        write_merged(spec, adapter, base_folder, base_name, folder).write(folder)
    return target


def write_merged(spec: ModelSpec, adapter: Path, base_folder: Path, base_name: str, folder: Path) -> ModelManifest:
    """Write a base model with an adapter added into `folder`, which exists, in the base's own precision.

    The adapter's manifest is put beside the weights, with those of all adapters that were merged before: they tell what
    the model was trained on.

    Raises:
        UsageError: the adapter is for another base model.
        DataError: its weights cannot be read.
        OSError: the folder cannot be written.
    """
    from retrieval.adapt import merged_encoder

    manifest = read_adapter_manifest(adapter)
    base = BaseModelId.of(base_name, base_folder)
    manifest.check_base(base)
    if manifest.section == "encoder":
        merged_encoder(base_folder, adapter).save_pretrained(str(folder), create_model_card=False)
    else:
        _write_merged_llm(adapter, base_folder, base, folder)
    for earlier in base_folder.glob(merged_manifest_name("*")):
        shutil.copyfile(earlier, folder / earlier.name)
    shutil.copyfile(adapter / ADAPTER_MANIFEST, folder / merged_manifest_name(manifest.name))
    source = f"adapter {manifest.name} on {base.name}"
    return ModelManifest.describe(spec, folder, source=source, revision=f"{manifest.created_at:%Y%m%dT%H%M%SZ}")


def load_adapter(folder: Path, base_folder: Path, base: BaseModelId, *, device: Device = "auto") -> LoraModel:
    """The base model with an adapter.

    Raises:
        UsageError: the adapter is for another base model.
        DataError: its weights cannot be read.
    """
    import peft
    from safetensors import SafetensorError

    read_adapter_manifest(folder).check_base(base)
    try:
        peft_model = peft.PeftModel.from_pretrained(load_base(base_folder, device), str(folder), is_trainable=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DataError(f"the adapter {folder} cannot be read: {exc}", hint="train it again: xdrec adapt llm") from exc
    return LoraModel.of(peft_model)


def _write_merged_llm(adapter: Path, base_folder: Path, base: BaseModelId, folder: Path) -> None:
    import torch
    from transformers import AutoConfig

    # Merged in float32, so that small additions to large weights are rounded once.
    merged = load_adapter(adapter, base_folder, base, device="cpu").peft_model.merge_and_unload()
    dtype = getattr(AutoConfig.from_pretrained(str(base_folder), local_files_only=True), "dtype", None)
    merged.to(dtype if isinstance(dtype, torch.dtype) else torch.bfloat16).save_pretrained(str(folder))
    # The tokenizer and other small files of the base.
    for file in base_folder.iterdir():
        beside = file.is_file() and file.suffix in {".json", ".jinja", ".txt", ".model"}
        if beside and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
