"""The manifest of a model folder. Reads its weight files, produces `xdrec-model.json`."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from retrieval.types import Frozen
from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models.table import Kind, ModelSpec

MODEL_MANIFEST = "xdrec-model.json"


class WeightFile(Frozen):
    """A weight file: its size in bytes and SHA-256 (hex)."""

    bytes: int
    sha256: str


class ModelManifest(Frozen):
    """What a pulled folder holds and where it came from.

    `revision` is the hub's commit or the package's version; `gguf_sha256` is the file it was converted from.
    """

    name: str
    kind: Kind
    source: str
    revision: str
    licence: str | None
    gguf_sha256: str | None
    weights: dict[str, WeightFile]
    pulled_at: datetime

    @classmethod
    def describe(
        cls, spec: ModelSpec, folder: Path, *, source: str, revision: str, gguf_sha256: str | None = None
    ) -> Self:
        """Hash the weight files of a finished folder."""
        return cls(
            name=spec.name,
            kind=kind_of(folder),
            source=source,
            revision=revision,
            licence=spec.licence or None,
            gguf_sha256=gguf_sha256,
            weights=hash_weights(folder),
            pulled_at=datetime.now(UTC),
        )

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The manifest of a folder; None if it has none, as one that was put there by hand.

        Raises:
            ModelCorrupt: it cannot be read.
        """
        try:
            return cls.model_validate_json((folder / MODEL_MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValidationError as exc:
            raise ModelCorrupt(
                f"{folder / MODEL_MANIFEST} is unreadable", hint=f"xdrec models pull {folder.name}"
            ) from exc

    def write(self, folder: Path) -> None:
        """Put the manifest into its folder."""
        (folder / MODEL_MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def check_present(self, folder: Path) -> None:
        """Compare the sizes of the weight files, which costs no reading of them.

        Raises:
            ModelCorrupt: one is gone or has another size.
        """
        for name, promised in self.weights.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != promised.bytes:
                raise ModelCorrupt(f"{path} is gone or cut off", hint=f"xdrec models pull {self.name}")


def hash_weights(folder: Path) -> dict[str, WeightFile]:
    """All safetensors of a folder, by their path in it."""
    weights = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        weights[path.relative_to(folder).as_posix()] = WeightFile(bytes=path.stat().st_size, sha256=digest)
    return weights


def kind_of(folder: Path) -> Kind:
    """What a model folder holds: sentence-transformers lists its modules, a language model has none."""
    return "encoder" if (folder / "modules.json").is_file() else "llm"
