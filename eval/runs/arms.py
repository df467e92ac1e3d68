"""Arms. Reads what the command line says of one, produces its settings and its manifest."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final, cast, get_args

from eval.data import ShownHistory
from eval.runs.folder import Manifest, TaskName, commit
from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from xdrec_agent.settings import Settings, load_settings

_PACKAGES: Final = ("xdrec", "numpy", "scipy", "torch", "sentence-transformers", "openai")
_SECTIONS: Final = ("encoder", "retriever", "rerank")
"""What of the settings can change a result; the model is named apart."""


@dataclass(frozen=True)
class ArmChoice:
    """What the command line says of an arm: its settings, and what it is shown of a history
    (`eval.data.history_ablation`)."""

    settings: Settings
    history: ShownHistory


def arm_choice(assignments: Sequence[str]) -> ArmChoice:
    """Settings as `arm_settings` makes them; `history=KIND` among the assignments says what is shown.

    Raises:
        UsageError: as `arm_settings`, or there is no such kind.
    """
    shown = [a.partition("=")[2] for a in assignments if a.startswith("history=")]
    kinds = get_args(ShownHistory)
    unknown = [kind for kind in shown if kind not in kinds]
    if unknown:
        raise UsageError(f"history {unknown[0]!r} is not known", hint=f"one of: {', '.join(kinds)}")
    settings = arm_settings([a for a in assignments if not a.startswith("history=")])
    return ArmChoice(settings, cast("ShownHistory", shown[-1]) if shown else "own")


def arm_settings(assignments: Sequence[str]) -> Settings:
    """Settings with `SECTION.NAME=VALUE` put over what files and environment say.

    Raises:
        UsageError: an assignment is not of that form, or there is no such setting.
    """
    given: dict[str, dict[str, str]] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        section, dot, key = name.partition(".")
        if not (equals and dot and key):
            hint = "for example --set rerank.strategy=pointwise-logprob"
            raise UsageError(f"{assignment!r} is not SECTION.NAME=VALUE", hint=hint)
        given.setdefault(section, {})[key] = value
    return load_settings(**given)


def manifest_of(
    name: str,
    task: TaskName,
    settings: Settings,
    protocol: Mapping[str, str | int],
    data: str,
    templates: Mapping[str, PromptTemplate],
) -> Manifest:
    """What a run with these settings on the data of that hash is a run of."""
    kept: dict[str, Any] = {s: getattr(settings, s).model_dump(mode="json") for s in _SECTIONS}
    kept |= _home_fits(settings)
    packages = {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}}
    return Manifest(
        name=name,
        task=task,
        protocol=dict(protocol),
        data=data,
        settings=kept,
        model=settings.llm.model if task == "rerank" else None,
        templates={t: template.fingerprint for t, template in templates.items()},
        versions=packages,
        commit=commit(),
    )


def _home_fits(settings: Settings) -> dict[str, Any]:
    """SHA-256 (hex) of the home's own fits by file; nothing where the shipped ones count."""
    files = sorted(settings.fits_dir.glob("*.json"))
    return {"fits": {file.name: sha256(file.read_bytes()).hexdigest() for file in files}} if files else {}


def settings_again(manifest: Manifest) -> Settings:
    """The settings of a run, with nothing but the response cache to answer.

    Raises:
        UsageError: the run was not made by `xdrec-eval run`.
    """
    sections = {s: manifest.settings[s] for s in _SECTIONS if s in manifest.settings}
    if len(sections) < len(_SECTIONS) or manifest.model is None:
        raise UsageError(f"the run {manifest.name} is not one of a model that can be replayed", hint="xdrec-eval run")
    return load_settings(llm={"model": manifest.model, "cache": "only"}, **sections)
