"""Demo packs. Reads a folder with a demo.yaml, produces the description of what to load and ask, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from retrieval.errors import DataError, UsageError
from retrieval.settings import ExclusionSettings
from retrieval.types import Frozen
from xdrec_agent.settings import Settings

_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "examples"


class DemoQuery(Frozen):
    """One query of a demo, as the options of `xdrec recommend`."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")
    user: str | None = None
    like: tuple[str, ...] = ()
    dislike: tuple[str, ...] = ()
    about: str | None = None
    not_where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """As `--not-where`: values of an attribute that the answer must not have."""


class Templates(Frozen):
    """A pack's own templates, as file names; None: the shipped one."""

    item: str | None = None
    explain: str | None = None
    sentences: str | None = None


class DemoPack(Frozen):
    """A demo.yaml: file names (relative to it), by domain where they belong to one, settings, and questions."""

    catalogues: dict[str, str]
    interactions: dict[str, str] = Field(default_factory=dict)
    relations: str | None = None
    templates: Templates = Templates()
    disclaimers: dict[str, str] = Field(default_factory=dict)
    """By domain; as the setting `explain.disclaimers`."""
    exclusions: tuple[ExclusionSettings, ...] = ()
    """As the setting of that name."""
    asks: tuple[DemoQuery, ...]

    def settings(self, configured: Settings, folder: Path) -> Settings:
        """The settings that the pack is used with: the configured ones, with its templates, disclaimers and rules.

        Args:
            folder: where the pack lies.
        """
        index, explain = configured.index, configured.explain
        if self.templates.item:
            index = index.model_copy(update={"template": str(folder / self.templates.item)})
        if self.templates.explain:
            explain = explain.model_copy(update={"template": str(folder / self.templates.explain)})
        if self.templates.sentences:
            explain = explain.model_copy(update={"sentences": folder / self.templates.sentences})
        explain = explain.model_copy(update={"disclaimers": {**explain.disclaimers, **self.disclaimers}})
        exclusions = tuple(dict.fromkeys((*configured.exclusions, *self.exclusions)))
        return configured.model_copy(update={"index": index, "explain": explain, "exclusions": exclusions})


def find_pack(name: str) -> Path:
    """The folder of a pack, given as a path or as a name under examples/, here or in the checkout that this runs from.

    Raises:
        UsageError: there is no such folder.
    """
    places = (Path("examples"), _CHECKOUT)
    for folder in (Path(name), *(place / name for place in places)):
        if (folder / "demo.yaml").is_file():
            return folder
    packs = {path.parent.name for place in places for path in place.glob("*/demo.yaml")}
    if packs:
        hint = f"the packs are {', '.join(sorted(packs))}; or give a folder with a demo.yaml"
    else:
        hint = "the packs are in the source, not in the installed package: give the path of a checkout's examples/NAME"
    raise UsageError(f"no demo pack {name!r}", hint=hint)


def load_pack(folder: Path) -> DemoPack:
    """Read and check a demo.yaml.

    Raises:
        DataError: it is not what it should be.
    """
    import yaml

    path = folder / "demo.yaml"
    try:
        return DemoPack.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as exc:
        raise DataError(f"{path}: {exc}", hint="see examples/films-books/demo.yaml") from exc
