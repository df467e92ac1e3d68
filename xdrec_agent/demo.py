"""Demo packs. Reads a folder with a demo.yaml, produces the description of what to load and ask."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from retrieval.errors import DataError, UsageError
from retrieval.types import Frozen


class Ask(Frozen):
    """One question of a demo."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    user: str | None = None
    like: tuple[str, ...] = ()
    dislike: tuple[str, ...] = ()
    about: str | None = None


class DemoPack(Frozen):
    """A demo.yaml: file names (relative to it) by domain, and questions."""

    catalogues: dict[str, str]
    interactions: dict[str, str] = Field(default_factory=dict)
    asks: tuple[Ask, ...]


def find_pack(name: str) -> Path:
    """The folder of a pack, given as a path or as a name under examples/.

    Raises:
        UsageError: there is no such folder.
    """
    for folder in (Path(name), Path("examples") / name):
        if (folder / "demo.yaml").is_file():
            return folder
    have = ", ".join(sorted(p.parent.name for p in Path("examples").glob("*/demo.yaml"))) or "none here"
    raise UsageError(f"no demo pack {name!r}", hint=f"give a folder with a demo.yaml; under examples/: {have}")


def load_pack(folder: Path) -> DemoPack:
    """Read and check a demo.yaml.

    Raises:
        DataError: it is not what it should be.
    """
    path = folder / "demo.yaml"
    try:
        return DemoPack.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as exc:
        raise DataError(f"{path}: {exc}", hint="see examples/films-books/demo.yaml") from exc
