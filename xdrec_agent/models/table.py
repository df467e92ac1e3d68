"""The models that XDRec knows by name. Reads `models.toml`, produces the table `MODELS`.

Any other model of the hub can be named by its id.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

Kind = Literal["encoder", "llm"]


@dataclass(frozen=True)
class Part:
    """One member of a wheel: `path` inside the wheel of `package` at exactly `version`."""

    package: str
    version: str
    path: str


@dataclass(frozen=True)
class PackagedFile:
    """A file of the model: the `parts` joined in order, `size` bytes that have this SHA-256 (hex)."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class ModelSpec:
    """A model and where it comes from.

    Attributes:
        hub_id, revision: `org/name` of the hub, and a commit there (None: the newest).
        files: carried by packages: a folder with safetensors, or one packed file that is converted to such a folder;
            empty if no package has them.
        prompt: put before every text that an encoder reads.
        base: the model of the table that this one is an adapter of: the adapter comes with this package
            (`shipped/NAME`) and is merged into that model's weights.
    """

    name: str
    kind: Kind
    licence: str
    hub_id: str = ""
    revision: str | None = None
    files: tuple[PackagedFile, ...] = ()
    prompt: str = ""
    base: str | None = None

    @property
    def packed(self) -> PackagedFile | None:
        """The one file that has to be converted; None if the packages carry a ready folder or nothing."""
        return next((file for file in self.files if file.name.endswith((".gguf", ".e5q4"))), None)

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """The (package, version) pairs that are needed, in the order of their parts, each once."""
        return tuple(dict.fromkeys((part.package, part.version) for f in self.files for part in f.parts))


def _read_table() -> dict[str, ModelSpec]:
    table = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    return {spec.name: spec for spec in TypeAdapter(list[ModelSpec]).validate_python(table["model"])}


MODELS: Mapping[str, ModelSpec] = _read_table()
