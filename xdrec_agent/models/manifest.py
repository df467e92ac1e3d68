"""The manifest of a model folder. Reads its weight files, produces `xdrec-model.json`."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError

from retrieval.types import Frozen
from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models.table import Kind, ModelSpec

MODEL_MANIFEST: Final = "xdrec-model.json"


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
    def write(
        cls, spec: ModelSpec, folder: Path, *, source: str, revision: str, gguf_sha256: str | None = None
    ) -> None:
        """Hash the weight files of a finished folder and put its manifest beside them."""
        manifest = cls(
            name=spec.name,
            kind=kind_of(folder),
            source=source,
            revision=revision,
            licence=spec.licence or None,
            gguf_sha256=gguf_sha256,
            weights=hash_weights(folder),
            pulled_at=datetime.now(UTC),
        )
        (folder / MODEL_MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The manifest of a folder; None if it has none, as one that was put there by hand.

        Raises:
            ModelCorrupt: it cannot be read.
        """
        path = folder / MODEL_MANIFEST
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValidationError as exc:
            raise ModelCorrupt(f"{path} is unreadable", hint=f"xdrec models pull {folder.name}") from exc

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
    return {
        path.relative_to(folder).as_posix(): WeightFile(bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.rglob("*.safetensors"))
    }


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kind_of(folder: Path) -> Kind:
    """What a model folder holds: sentence-transformers lists its modules, a language model has none."""
    return "encoder" if (folder / "modules.json").is_file() else "llm"
