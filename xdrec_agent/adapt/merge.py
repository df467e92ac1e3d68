"""Merging. Reads a base model and an adapter, produces a plain model folder that vLLM serves at full speed.

An adapter beside the base costs vLLM most of its prompt speed on a CPU; merged into the weights it costs nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from retrieval.adapt.checkpoint import written
from xdrec_agent.adapt.adapters import BaseModelId, load_adapter, read_manifest
from xdrec_agent.model_manifest import ModelManifest
from xdrec_agent.model_table import ModelSpec


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
    base = BaseModelId.of(base_name, base_folder)
    manifest.check(base)
    name = merged_name(base_name, manifest.name)
    target, partial = models_dir / name, models_dir / f".partial-{name}"
    known = ModelManifest.read(base_folder)
    save = (
        _merged_encoder(adapter, base_folder)
        if manifest.section == "encoder"
        else _merged_llm(adapter, base_folder, base)
    )

    def write() -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save(partial)
        spec = ModelSpec(name, manifest.section, (known.licence if known else None) or "", hub_id="")
        source = f"adapter {manifest.name} on {base.name}"
        made = ModelManifest.describe(spec, partial, source=source, revision=f"{manifest.created_at:%Y%m%dT%H%M%SZ}")
        made.model_copy(update={"pulled_at": datetime.now(UTC)}).write(partial)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)

    written(write, target, partial)
    return target


def _merged_encoder(adapter: Path, base_folder: Path) -> Callable[[Path], None]:
    from retrieval.adapt.trained_encoder import merged_encoder

    sentence = merged_encoder(base_folder, adapter)

    def save(folder: Path) -> None:
        sentence.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)

    return save


def _merged_llm(adapter: Path, base_folder: Path, base: BaseModelId) -> Callable[[Path], None]:
    import torch
    from transformers import AutoConfig

    # In float32, so that small additions to large weights are rounded once.
    merged = load_adapter(adapter, base_folder, base, device="cpu").whole.merge_and_unload()
    dtype = getattr(AutoConfig.from_pretrained(str(base_folder), local_files_only=True), "dtype", None)

    def save(folder: Path) -> None:
        merged.to(dtype if isinstance(dtype, torch.dtype) else torch.bfloat16).save_pretrained(str(folder))
        for file in _beside_weights(base_folder):
            if not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)

    return save


def _beside_weights(folder: Path) -> list[Path]:
    """The tokenizer's and other small files of a model folder."""
    return [p for p in folder.iterdir() if p.is_file() and p.suffix in {".json", ".jinja", ".txt", ".model"}]
