"""Adapters on disk. Reads trained weights, produces folders that peft and vLLM load, each with a manifest.

A folder holds `adapter_model.safetensors`, `adapter_config.json` (peft's) and `xdrec-adapter.json` (ours): which base
model it fits, which labels and template it learnt with, what it learnt from and how good it was. It appears complete or
not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import ValidationError

from retrieval.errors import DataError, UsageError
from retrieval.files import atomic_folder, translated_writes
from retrieval.types import Frozen
from xdrec_agent.llm import NO, YES
from xdrec_agent.models.lora import TrainedModel, load_base, wrapped
from xdrec_agent.models.manifest import ModelManifest, WeightFile
from xdrec_agent.rerank import LABELS

if TYPE_CHECKING:
    from retrieval.adapt import Device

MANIFEST: Final = "xdrec-adapter.json"
AdapterKind = Literal["list", "judge", "text", "taste", "views"]
"""Of the language model: "list" learnt to choose by label, "judge" to say of one candidate whether it fits, "text" read
a domain's texts. Of the encoder: "taste" learnt to find what people liked from what else they liked, "views" read a
catalogue."""

ENCODER_KINDS: Final[frozenset[AdapterKind]] = frozenset({"taste", "views"})
ANSWERS: Final[Mapping[AdapterKind, str]] = {"list": "".join(LABELS), "judge": f"{YES}/{NO}"}
"""What an adapter of a kind chooses its answer's first token from; nothing for other kinds."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class BaseModelId(Frozen):
    """A base model: what it is called, its revision where that is known, and a hash (SHA-256, hex) of its weights."""

    name: str
    revision: str | None
    sha256: str

    @classmethod
    def of(cls, name: str, folder: Path) -> BaseModelId:
        """The identity of a folder; weights are hashed where its manifest does not say their hash."""
        manifest = ModelManifest.read(folder)
        weights = manifest.weights if manifest else _hashed(folder)
        digest = hashlib.sha256()
        for path, file in sorted(weights.items()):
            digest.update(f"{path} {file.sha256}\n".encode())
        return cls(name=name, revision=manifest.revision if manifest else None, sha256=digest.hexdigest())


class TrainingData(Frozen):
    """What an adapter learnt from; numbers only, nothing of any person.

    Attributes:
        pairs: "SOURCE:TARGET", of adapters that learnt to rerank or to find.
        people: `Learners.identity` of those who were learnt from; "" if none were.
        left_out: which users were never learnt from, in words.
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
        labels: what the answer's first token was chosen from (`ANSWERS`).
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
        """Which model it adapts, as the settings call it."""
        return "encoder" if self.kind in ENCODER_KINDS else "llm"

    def check(self, base: BaseModelId) -> None:
        """Raise unless the adapter fits this base model and the labels in use.

        Raises:
            UsageError: it was trained on another base model, or with other labels.
        """
        if base.sha256 != self.base.sha256:
            raise UsageError(
                f"the adapter {self.name} was trained on {self.base.name} (weights {self.base.sha256[:12]}),"
                f" not on {base.name} (weights {base.sha256[:12]})",
                hint=f"set {self.section}.model = {self.base.name}, or train one: xdrec adapt {self.section}",
            )
        if self.labels != (labels := ANSWERS.get(self.kind, "")):
            raise UsageError(
                f"the adapter {self.name} learnt the labels {self.labels}, not {labels}",
                hint="train it again: xdrec adapt llm",
            )


def check_name(name: str) -> str:
    """The name of an adapter as it is. Raises UsageError if it is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for an adapter", hint="letters, digits, - _ . and at most 64 of them")
    return name


class Wrapped(Protocol):
    """A model that peft has wrapped."""

    @property
    def whole(self) -> Any:  # noqa: ANN401 (peft keeps its types to itself)
        """The peft model."""
        ...


def save_adapter(model: Wrapped, manifest: AdapterManifest, adapters_dir: Path) -> Path:
    """Write an adapter, in place of an older one of this name; its folder.

    Raises:
        BackendError: it cannot be written; an older one stays.
    """
    target = adapters_dir / check_name(manifest.name)
    with (
        translated_writes(target, "make room and run the same command again: it goes on at the last checkpoint"),
        atomic_folder(target) as partial,
    ):
        model.whole.peft_config["default"].base_model_name_or_path = manifest.base.name
        # Whether to keep embeddings peft would otherwise ask of the hub; ours are never trained.
        model.whole.save_pretrained(str(partial), safe_serialization=True, save_embedding_layers=False)
        (partial / "README.md").unlink(missing_ok=True)  # peft's model card has nothing in it
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return target


def read_manifest(folder: Path) -> AdapterManifest:
    """The manifest of an adapter's folder.

    Raises:
        UsageError: there is no adapter.
        DataError: its manifest cannot be read.
    """
    try:
        return _read(folder / MANIFEST)
    except OSError as exc:
        raise UsageError(f"there is no adapter {folder}", hint="xdrec adapt list") from exc


def merged_manifest(name: str) -> str:
    """What an adapter's manifest is called in the folder of a model that it was merged into."""
    return f"xdrec-adapter-{name}.json"


def merged_into(folder: Path) -> list[AdapterManifest]:
    """The adapters that were merged into a model, the first one first. Raises DataError as `read_manifest`."""
    found = [_read(path) for path in folder.glob(merged_manifest("*"))]
    return sorted(found, key=lambda manifest: manifest.created_at)


def list_adapters(adapters_dir: Path) -> list[tuple[Path, AdapterManifest]]:
    """The adapters of a folder, by name. Raises DataError as `read_manifest`."""
    folders = sorted(p.parent for p in adapters_dir.glob(f"[!.]*/{MANIFEST}"))
    return [(folder, read_manifest(folder)) for folder in folders]


def check_served(adapters: Mapping[str, Path], base_name: str, base_folder: Path) -> None:
    """Raise unless all named adapters can be served beside the base model.

    Raises:
        UsageError: one is not there, or is for another base model or other labels.
        DataError: its manifest cannot be read.
    """
    base = BaseModelId.of(base_name, base_folder)
    for folder in adapters.values():
        read_manifest(folder).check(base)


def load_adapter(folder: Path, base_folder: Path, base: BaseModelId, *, device: Device = "auto") -> TrainedModel:
    """The base model with an adapter.

    Raises:
        UsageError: the adapter is for another base model or other labels.
        DataError: its weights cannot be read.
    """
    import peft
    from safetensors import SafetensorError

    read_manifest(folder).check(base)
    try:
        whole = peft.PeftModel.from_pretrained(load_base(base_folder, device), str(folder), is_trainable=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise DataError(f"the adapter {folder} cannot be read: {exc}", hint="train it again: xdrec adapt llm") from exc
    return wrapped(whole)


def _read(path: Path) -> AdapterManifest:
    try:
        return AdapterManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as exc:
        raise DataError(f"{path} cannot be read: {exc.errors()[0]['msg']}", hint="train it again") from exc


def _hashed(folder: Path) -> dict[str, WeightFile]:
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(folder).as_posix()] = WeightFile(bytes=path.stat().st_size, sha256=digest)
    return found
