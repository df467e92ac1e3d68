"""Arms. Reads what the command line says of one, produces its settings and its manifest."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final, get_args

from eval.data import ShownHistory
from eval.runs.folder import Manifest, TaskName, commit
from eval.runs.requests import known_option
from retrieval.errors import UsageError
from retrieval.templates import PromptTemplate
from xdrec_agent.rerank import RERANKERS
from xdrec_agent.settings import Settings, load_settings

_PACKAGES: Final = ("xdrec", "numpy", "scipy", "torch", "sentence-transformers", "openai")
_SECTIONS: Final = ("encoder", "retriever", "rerank")
"""What of the settings can change a result; the model is named apart."""


def arm_choice(assignments: Sequence[str]) -> tuple[Settings, ShownHistory]:
    """What the command line says of an arm: the settings to measure it with, and what it is shown of a history.

    All candidates are reranked, and requests may wait.

    Args:
        assignments: as those of `arm_settings`; `history=KIND` among them says what is shown.

    Raises:
        UsageError: as `arm_settings`, or there is no such kind of history or strategy.
    """
    shown = [a.partition("=")[2] for a in assignments if a.startswith("history=")]
    history: ShownHistory = known_option("history", shown[-1] if shown else "own", get_args(ShownHistory))
    return measured(arm_settings([a for a in assignments if not a.startswith("history=")])), history


def measured(settings: Settings) -> Settings:
    """The settings for measuring: all candidates are reranked, and requests may wait. Raises UsageError."""
    known_option("rerank.strategy", settings.rerank.strategy, tuple(RERANKERS))
    rerank = settings.rerank.model_copy(update={"candidates": max(20, settings.rerank.candidates)})
    return settings.model_copy(update={"rerank": rerank}).patient()


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
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    catalogue: Mapping[str, int] = MappingProxyType({}),
    server_version: str | None = None,
) -> Manifest:
    """What a run with these settings on the data of that hash is a run of.

    Args:
        options: what else the system was told; stands beside the settings.
        catalogue: items by target domain.
    """
    kept: dict[str, Any] = {s: getattr(settings, s).model_dump(mode="json") for s in _SECTIONS}
    if fits := sorted(settings.fits_dir.glob("*.json")):  # else the shipped ones count
        kept["fits"] = {file.name: sha256(file.read_bytes()).hexdigest() for file in fits}
    packages = {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}}
    return Manifest(
        name=name,
        task=task,
        protocol=dict(protocol),
        data=data,
        catalogue=dict(catalogue),
        settings=kept | dict(options),
        model=settings.llm.model if task == "rerank" else None,
        server_version=server_version,
        templates={t: template.fingerprint for t, template in templates.items()},
        versions=packages,
        commit=commit(),
    )


def settings_again(manifest: Manifest) -> Settings:
    """The settings of a run of a model, with nothing but the response cache to answer.

    Raises:
        UsageError: the run was not made by `xdrec-eval run`.
    """
    sections = {s: manifest.settings[s] for s in _SECTIONS if s in manifest.settings}
    if len(sections) < len(_SECTIONS) or manifest.model is None:
        raise UsageError(f"the run {manifest.name} is not one of a model that can be replayed", hint="xdrec-eval run")
    return measured(load_settings(llm={"model": manifest.model, "cache": "only"}, **sections))
