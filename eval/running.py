"""Making runs. Reads what is asked for and settings, produces a finished run folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, get_args

import numpy as np

from eval.arms import manifest_of, settings_again
from eval.baseline_types import Scorer, Scores
from eval.baselines import BASELINES, cross_fitted
from eval.choices import Kind, in_hash_order, tasks
from eval.datasets import Dataset, Say, data_hash, open_dataset
from eval.judging import AT_ONCE, patient
from eval.others import Others
from eval.protocol import FOLDS, Case, cases, histories
from eval.run_catalogue import run_catalogue
from eval.run_folder import RunFolder, Summary, Task
from eval.run_rerank import run_rerank
from eval.sequential import StoppingRule
from eval.trial import LiveArm, TrialResult, trial
from retrieval.errors import DataError, UsageError
from retrieval.templates import load_template
from retrieval.types import History, Query
from xdrec_agent.assembly import load_templates, open_client, open_encoder
from xdrec_agent.rerank import RERANKERS, RerankContext
from xdrec_agent.settings import Settings

RETRIEVER: Final = "retriever"


@dataclass(frozen=True)
class RunRequest:
    """What `xdrec-eval run` was asked for."""

    out: Path
    name: str
    task: str
    system: str
    candidates: str
    users: int
    seed: int
    repeats: int

    @property
    def protocol(self) -> dict[str, str | int]:
        """What must be equal for two runs to be compared."""
        common: dict[str, str | int] = {"split": "cold target", "users": self.users, "seed": self.seed}
        return common | ({"candidates": self.candidates} if self.task == "rerank" else {})


def make_run(request: RunRequest, data: Path, settings: Settings, say: Say) -> Summary:
    """Make a run, or go on with one that was stopped.

    Raises:
        UsageError: no such task, system, strategy or kind of candidates, or the folder holds another run.
        DataError: the data is incomplete, or a case leaks.
        SetupError, LLMError: the model cannot be asked at all.
    """
    settings = _prepared(request, settings)
    encoder, item = open_encoder(settings), load_template("item")
    with open_dataset(data, encoder, item, say) as dataset:
        measure = _catalogue if request.task == "catalogue" else _rerank
        folder = measure(dataset, request, settings, data_hash(data), say)
    return folder.finish()


def replayed(path: Path, data: Path, say: Say) -> int:
    """Make a run again from the response cache alone; how many cases it has.

    Raises:
        UsageError: the run is of no model.
        CacheMiss: a reply was not kept.
        DataError: a number differs.
    """
    old = RunFolder.open(path)
    settings = settings_again(old.manifest)
    protocol = old.manifest.protocol
    with tempfile.TemporaryDirectory() as folder:
        request = RunRequest(
            Path(folder) / "replay",
            old.manifest.name,
            "rerank",
            "",
            str(protocol["candidates"]),
            int(protocol["users"]),
            int(protocol["seed"]),
            int(old.manifest.settings["repeats"]),
        )
        make_run(request, data, settings, say)
        again = RunFolder.open(request.out).results()
    before = old.results()
    if [r.key for r in again] != [r.key for r in before]:
        raise DataError(f"{path} has other cases than its replay", hint="let the run finish: xdrec-eval run")
    for one, other in zip(before, again, strict=True):
        if one.metrics != other.metrics:
            raise DataError(f"{path}: {' '.join(one.key)} differs: {one.metrics}, replayed {other.metrics}")
    return len(before)


@dataclass(frozen=True)
class TrialRequest:
    """What `xdrec-eval trial` was asked for; `arms` are names with their settings."""

    out: Path
    arms: tuple[tuple[str, Settings], tuple[str, Settings]]
    metric: str
    rule: StoppingRule
    batch: int
    candidates: str
    users: int
    seed: int
    repeats: int


def make_trial(request: TrialRequest, data: Path, say: Say) -> TrialResult:
    """Run two arms against each other until the rule says stop, or go on with a trial that was stopped.

    Raises: as `make_run`.
    """
    runs = [
        RunRequest(
            request.out / name, name, "rerank", "", request.candidates, request.users, request.seed, request.repeats
        )
        for name, _ in request.arms
    ]
    settings = [_prepared(run, arm) for run, (_, arm) in zip(runs, request.arms, strict=True)]

    async def run(dataset: Dataset) -> TrialResult:
        chosen = tasks(dataset, request.users, request.seed, kind=cast("Kind", request.candidates))
        async with AsyncExitStack() as stack:
            a, b = [
                await stack.enter_async_context(_live(run, arm, data_hash(data)))
                for run, arm in zip(runs, settings, strict=True)
            ]
            return await trial(
                (a, b),
                chosen,
                request.metric,
                request.rule,
                batch=request.batch,
                repeats=request.repeats,
                at_once=AT_ONCE,
                say=say,
            )

    with open_dataset(data, open_encoder(settings[0]), load_template("item"), say) as dataset:
        return asyncio.run(run(dataset))


def _prepared(request: RunRequest, settings: Settings) -> Settings:
    """The settings for measuring: all candidates are reranked, and requests may wait. Raises UsageError."""
    known = {
        "--task": (request.task, get_args(Task)),
        "--system": (request.system or RETRIEVER, (RETRIEVER, *BASELINES)),
        "--candidates": (request.candidates, get_args(Kind)),
        "rerank.strategy": (settings.rerank.strategy, tuple(RERANKERS)),
    }
    for option, (given, allowed) in known.items():
        if given not in allowed:
            raise UsageError(f"{option} {given!r} is not known", hint=f"one of: {', '.join(allowed)}")
    rerank = settings.rerank.model_copy(update={"candidates": max(20, settings.rerank.candidates)})
    return patient(settings.model_copy(update={"rerank": rerank}))


def _rerank(dataset: Dataset, request: RunRequest, settings: Settings, data: str, say: Say) -> RunFolder:
    chosen = tasks(dataset, request.users, request.seed, kind=cast("Kind", request.candidates))

    async def run() -> RunFolder:
        async with _live(request, settings, data) as arm:
            await run_rerank(arm.folder, arm.context, chosen, request.repeats, AT_ONCE, say)
            return arm.folder

    return asyncio.run(run())


@asynccontextmanager
async def _live(request: RunRequest, settings: Settings, data: str) -> AsyncIterator[LiveArm]:
    """The arm with its folder made and its client open; the retriever's order needs none."""
    templates = load_templates(settings)
    async with nullcontext() if settings.rerank.strategy == "identity" else open_client(settings) as client:
        version = (await client.capabilities()).server_version if client else None
        manifest = manifest_of(request.name, "rerank", settings, request.protocol, data, templates)
        told = manifest.settings | {"repeats": request.repeats}
        manifest = manifest.model_copy(update={"settings": told, "server_version": version})
        yield LiveArm(RunFolder.create(request.out, manifest), RerankContext(settings.rerank, templates, client))


def _catalogue(dataset: Dataset, request: RunRequest, settings: Settings, data: str, say: Say) -> RunFolder:
    templates = {"item": load_template("item")}
    manifest = manifest_of(request.name, "catalogue", settings, request.protocol, data, templates)
    told = manifest.settings | {"system": request.system}
    folder = RunFolder.create(request.out, manifest.model_copy(update={"settings": told}))
    say("reading histories")
    people = in_hash_order(histories(dataset.store), request.seed)
    asked = [found for person in people if (found := list(cases(person, dataset.domains)))][: request.users]
    say(f"fitting {request.system}")
    others = Others(dataset)
    scorer = _scorer(dataset, request, settings, people, others)
    flat = [case for mine in asked for case in mine]
    run_catalogue(folder, dataset, flat, others, scorer, say)
    return folder


def _scorer(
    dataset: Dataset, request: RunRequest, settings: Settings, people: Sequence[History], others: Others
) -> Scorer:
    if request.system != RETRIEVER:
        baseline = BASELINES[request.system](dataset)
        return cross_fitted(baseline, people, FOLDS, np.random.default_rng(request.seed))

    def score(case: Case) -> Scores:
        return others.retriever(case, settings.retriever).scores(Query(history=case.history, target=case.target))[1]

    return score
