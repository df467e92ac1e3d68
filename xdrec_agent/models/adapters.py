"""Adapters on disk. Reads trained weights, produces folders that peft and vLLM load, and merges them into their base.

A folder holds `adapter_model.safetensors`, `adapter_config.json` (peft's) and `xdrec-adapter.json` (ours): the base
model, the answer labels and template of the training, its data and its validation figures. It appears complete or not
at all. An adapter that vLLM serves beside the base costs most of its prompt speed on a CPU; merged into the weights it
costs nothing.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from retrieval.errors import DataError, UsageError
from retrieval.files import atomic_folder, translated_writes
from retrieval.types import Frozen
from xdrec_agent.models.loading import load_llm
from xdrec_agent.models.manifest import ModelManifest, hash_weights
from xdrec_agent.models.table import ModelSpec

ADAPTER_MANIFEST: Final = "xdrec-adapter.json"
AdapterKind = Literal["list", "judge", "text", "taste", "views"]
"""Adapters of the language model: "list" chooses a candidate by its label, "judge" says of one candidate whether it
fits, "text" has read a domain's item texts. Adapters of the encoder: "taste" has learnt to find liked items from other
liked items, "views" to find an item's description from its title."""

ENCODER_KINDS: Final[frozenset[AdapterKind]] = frozenset({"taste", "views"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class BaseModelId(Frozen):
    """A base model: its name, its revision where that is known, and a hash (SHA-256, hex) of its weights."""

    name: str
    revision: str | None
    sha256: str

    @classmethod
    def of(cls, name: str, folder: Path) -> BaseModelId:
        """The identity of a folder. Weights are hashed where its manifest does not give their hash."""
        manifest = ModelManifest.read(folder)
        digest = hashlib.sha256()
        for path, file in sorted((manifest.weights if manifest else hash_weights(folder)).items()):
            digest.update(f"{path} {file.sha256}\n".encode())
        return cls(name=name, revision=manifest.revision if manifest else None, sha256=digest.hexdigest())


class TrainingData(Frozen):
    """The data of a training, as numbers; nothing identifies a user.

    Attributes:
        pairs: "SOURCE:TARGET", of adapters trained on pairs of domains.
        people: `UserSplit.identity` of the users; "" if there are none.
        left_out: which users are in neither part, in words.
    """

    domains: tuple[str, ...]
    pairs: tuple[str, ...] = ()
    users: int = 0
    validation_users: int = 0
    examples: int = 0
    people: str = ""
    left_out: str = ""


class AdapterManifest(Frozen):
    """What an adapter is.

    Attributes:
        labels: the tokens that an answer can begin with; "" where the adapter does not judge.
        template, template_fingerprint: of the prompts, or of the item texts.
        before, metrics: validation before training and with these weights.
        created_at: UTC.
    """

    name: str
    kind: AdapterKind
    base: BaseModelId
    labels: str = ""
    template: str
    template_fingerprint: str
    data: TrainingData
    settings: dict[str, Any]
    before: dict[str, float]
    metrics: dict[str, float]
    steps: int
    tokens: int
    seconds: float
    seed: int
    created_at: datetime

    @property
    def section(self) -> Literal["encoder", "llm"]:
        """The section of the settings that names the adapted model."""
        return "encoder" if self.kind in ENCODER_KINDS else "llm"

    def check_base(self, base: BaseModelId) -> None:
        """Raise UsageError unless the adapter was trained on this base model."""
        if base.sha256 != self.base.sha256:
            raise UsageError(
                f"the adapter {self.name} was trained on {self.base.name} (weights {self.base.sha256[:12]}),"
                f" not on {base.name} (weights {base.sha256[:12]})",
                hint=f"set {self.section}.model = {self.base.name}, or train one: xdrec adapt {self.section}",
            )


def check_adapter_name(name: str) -> str:
    """The name itself. Raises UsageError if it is not valid."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for an adapter", hint="letters, digits, - _ . and at most 64 of them")
    return name


def save_adapter(peft_model: Any, manifest: AdapterManifest, adapters_dir: Path) -> Path:  # noqa: ANN401 (a PeftModel)
    """Write an adapter, in place of an older one of this name; returns its folder.

    Raises:
        BackendError: it cannot be written; an older one stays.
    """
    target = adapters_dir / check_adapter_name(manifest.name)
    hint = "make room and run the same command again: it goes on at the last checkpoint"
    with translated_writes(target, hint), atomic_folder(target) as folder:
        peft_model.peft_config["default"].base_model_name_or_path = manifest.base.name
        # With "auto", the default, peft asks the hub whether embeddings were changed; ours never are.
        peft_model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # peft's model card is an empty form
        (folder / ADAPTER_MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return target


def read_adapter_manifest(folder: Path) -> AdapterManifest:
    """The manifest of an adapter's folder.

    Raises:
        UsageError: there is no adapter.
        DataError: its manifest cannot be read.
    """
    try:
        return _read(folder / ADAPTER_MANIFEST)
    except OSError as exc:
        raise UsageError(f"there is no adapter {folder}", hint="xdrec adapt list") from exc


def list_adapters(adapters_dir: Path) -> list[tuple[Path, AdapterManifest]]:
    """The adapters of a folder, by name. Raises DataError as `read_adapter_manifest`."""
    folders = sorted(path.parent for path in adapters_dir.glob(f"[!.]*/{ADAPTER_MANIFEST}"))
    return [(folder, read_adapter_manifest(folder)) for folder in folders]


def merged_manifest_name(adapter: str) -> str:
    """The file name of an adapter's manifest in the folder of a model that it was merged into."""
    return f"xdrec-adapter-{adapter}.json"


def merged_adapters(folder: Path) -> list[AdapterManifest]:
    """The adapters that were merged into a model, oldest first. Raises DataError as `read_adapter_manifest`."""
    manifests = [_read(path) for path in folder.glob(merged_manifest_name("*"))]
    return sorted(manifests, key=lambda manifest: manifest.created_at)


def _read(path: Path) -> AdapterManifest:
    try:
        return AdapterManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as exc:
        raise DataError(f"{path} cannot be read: {exc.errors()[0]['msg']}", hint="train it again") from exc


def merge_adapter(adapter: Path, base_folder: Path, base_name: str, models_dir: Path) -> Path:
    """Add an adapter to its base model's weights; returns the new folder under `models_dir`.

    Raises:
        UsageError: the adapter is for another base model.
        DataError: its weights cannot be read.
        BackendError: the folder cannot be written; an older one stays.
    """
    manifest, base = read_adapter_manifest(adapter), ModelManifest.read(base_folder)
    manifest.check_base(BaseModelId.of(base_name, base_folder))  # before anything is written
    target = models_dir / f"{Path(base_name).name}--{manifest.name}"
    spec = ModelSpec(target.name, manifest.section, (base and base.licence) or "")
    with translated_writes(target, "make room and run the same command again"), atomic_folder(target) as folder:
        write_merged(spec, adapter, base_folder, base_name, folder)
    return target


def write_merged(spec: ModelSpec, adapter: Path, base_folder: Path, base_name: str, folder: Path) -> None:
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
    manifest.check_base(BaseModelId.of(base_name, base_folder))
    if manifest.section == "encoder":
        merged_encoder(base_folder, adapter).save_pretrained(str(folder), create_model_card=False)
    else:
        _write_merged_llm(adapter, base_folder, folder)
    for earlier in base_folder.glob(merged_manifest_name("*")):
        shutil.copyfile(earlier, folder / earlier.name)
    shutil.copyfile(adapter / ADAPTER_MANIFEST, folder / merged_manifest_name(manifest.name))
    source, revision = f"adapter {manifest.name} on {base_name}", f"{manifest.created_at:%Y%m%dT%H%M%SZ}"
    ModelManifest.write(spec, folder, source=source, revision=revision)


def _write_merged_llm(adapter: Path, base_folder: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig

    from retrieval.adapt import load_lora

    # Merged in float32, so that small additions to large weights are rounded once.
    merged = load_lora(load_llm(base_folder, torch.device("cpu")), adapter).merge_and_unload()
    dtype = getattr(AutoConfig.from_pretrained(str(base_folder), local_files_only=True), "dtype", None)
    merged.to(dtype if isinstance(dtype, torch.dtype) else torch.bfloat16).save_pretrained(str(folder))
    # The tokenizer and other small files of the base.
    for file in base_folder.iterdir():
        beside = file.is_file() and file.suffix in {".json", ".jinja", ".txt", ".model"}
        if beside and not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
