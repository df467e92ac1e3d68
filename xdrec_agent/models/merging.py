"""Merging. Reads a base model and an adapter, produces a plain model folder that vLLM serves at full speed.

An adapter beside the base costs vLLM most of its prompt speed on a CPU; merged into the weights it costs nothing.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from retrieval.files import atomic_folder, translated_writes
from xdrec_agent.models.adapters import MANIFEST, BaseModelId, load_adapter, merged_manifest, read_manifest
from xdrec_agent.models.manifest import ModelManifest
from xdrec_agent.models.table import ModelSpec


def merged_name(base: str, adapter: str) -> str:
    """What the merged model is called."""
    return f"{Path(base).name}--{adapter}"


def merge(adapter: Path, base_folder: Path, base_name: str, models_dir: Path) -> Path:
    """Add an adapter to the base model's weights; the new folder under `models_dir`, in the base's own precision.

    Raises:
        UsageError: the adapter is for another base model.
        DataError: its weights cannot be read.
        BackendError: the folder cannot be written; an older one stays.
    """
    manifest = read_manifest(adapter)
    manifest.check(BaseModelId.of(base_name, base_folder))  # before anything is written
    name = merged_name(base_name, manifest.name)
    target = models_dir / name
    known = ModelManifest.read(base_folder)
    spec = ModelSpec(name, manifest.section, (known.licence if known else None) or "", hub_id="")
    with translated_writes(target, "make room and run the same command again"), atomic_folder(target) as partial:
        write_merged(spec, adapter, base_folder, base_name, partial).write(partial)
    return target


def write_merged(spec: ModelSpec, adapter: Path, base_folder: Path, base_name: str, folder: Path) -> ModelManifest:
    """Write a base model with an adapter added into `folder`, which exists; what it says of itself.

    The adapter's manifest lies beside the weights, and those of all that were merged before, so that one can see later
    what the model has learnt from.

    Raises:
        UsageError: the adapter is for another base model.
        DataError: its weights cannot be read.
        OSError: the folder cannot be written.
    """
    manifest = read_manifest(adapter)
    base = BaseModelId.of(base_name, base_folder)
    manifest.check(base)
    if manifest.section == "encoder":
        _save_encoder(adapter, base_folder, folder)
    else:
        _save_llm(adapter, base_folder, base, folder)
    for earlier in base_folder.glob(merged_manifest("*")):
        shutil.copyfile(earlier, folder / earlier.name)
    shutil.copyfile(adapter / MANIFEST, folder / merged_manifest(manifest.name))
    source = f"adapter {manifest.name} on {base.name}"
    made = ModelManifest.describe(spec, folder, source=source, revision=f"{manifest.created_at:%Y%m%dT%H%M%SZ}")
    return made.model_copy(update={"pulled_at": datetime.now(UTC)})


def _save_encoder(adapter: Path, base_folder: Path, folder: Path) -> None:
    from retrieval.adapt import merged_encoder

    merged_encoder(base_folder, adapter).save_pretrained(str(folder), create_model_card=False, safe_serialization=True)


def _save_llm(adapter: Path, base_folder: Path, base: BaseModelId, folder: Path) -> None:
    import torch
    from transformers import AutoConfig

    # In float32, so that small additions to large weights are rounded once.
    merged = load_adapter(adapter, base_folder, base, device="cpu").whole.merge_and_unload()
    dtype = getattr(AutoConfig.from_pretrained(str(base_folder), local_files_only=True), "dtype", None)
    merged.to(dtype if isinstance(dtype, torch.dtype) else torch.bfloat16).save_pretrained(str(folder))
    for file in _beside_weights(base_folder):
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def _beside_weights(folder: Path) -> list[Path]:
    """The tokenizer's and other small files of a model folder."""
    return [p for p in folder.iterdir() if p.is_file() and p.suffix in {".json", ".jinja", ".txt", ".model"}]
