"""Making runs. Reads what is asked for and settings, produces a finished run folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval.data import FOLDS, Case, CatalogueScores, Dataset, OutOfFold, RerankTask, Say, Scorer, llm_training_users
from eval.fitting import UserWeights, cross_fit_weights
from eval.runs.arms import manifest_of
from eval.runs.catalogue import run_catalogue
from eval.runs.folder import RunFolder, Summary
from eval.runs.requests import RETRIEVER, Protocol, RunRequest
from eval.runs.rerank import run_rerank
from eval.runs.trial import LiveArm, TrialResult, trial
from eval.stats import StoppingRule
from eval.systems import BASELINES, CONCURRENT_USERS, cross_fitted
from retrieval.errors import DataError
from retrieval.templates import load_template
from retrieval.types import Query
from xdrec_agent.app import load_templates, open_client
from xdrec_agent.rerank import RerankContext, rerank_fits
from xdrec_agent.settings import Settings


def make_run(request: RunRequest, data: Dataset, settings: Settings, say: Say) -> Summary:
    """Make a run, or go on with one that was stopped.

    Args:
        settings: as `arm_choice` makes them.

    Raises:
        UsageError: the folder holds another run, or there is no other user whose history could be shown.
        DataError: a case leaks.
        SetupError, LLMError: the model cannot be asked at all.
    """
    if request.protocol.task == "catalogue":
        return _catalogue(data, request, settings, say).finish()
    return asyncio.run(_rerank(data, request, settings, say)).finish()


def replay_run(old: RunFolder, data: Dataset, settings: Settings, say: Say) -> int:
    """Make a run again from the response cache alone; how many cases it has.

    Args:
        settings: `eval.runs.arms.settings_again`.

    Raises:
        CacheMiss: a reply was not kept.
        DataError: a number differs.
    """
    told, protocol = old.manifest.settings, Protocol.of_record("rerank", old.manifest.protocol)
    with tempfile.TemporaryDirectory() as folder:
        request = RunRequest(
            Path(folder) / "replay",
            old.manifest.name,
            protocol,
            repeats=int(told["repeats"]),
            history=told.get("history", "own"),
        )
        make_run(request, data, settings, say)
        again = RunFolder.open(request.out).results()
    before = old.results()
    if [r.key for r in again] != [r.key for r in before]:
        raise DataError(f"{old.path} has other cases than its replay", hint="let the run finish: xdrec-eval run")
    for one, other in zip(before, again, strict=True):
        if one.metrics != other.metrics:
            raise DataError(f"{old.path}: {' '.join(one.key)} differs: {one.metrics}, replayed {other.metrics}")
    return len(before)


def make_trial(
    request: RunRequest,
    arms: Mapping[str, Settings],
    rule: StoppingRule,
    data: Dataset,
    say: Say,
    *,
    metric: str,
    batch: int,
) -> TrialResult:
    """Run two arms against each other until the rule says stop, or go on with a trial that was stopped.

    Args:
        request: what both arms' runs share; they are made in its folder.
        arms: settings by name, A first, as `arm_choice` makes them.
        batch: users between two looks.

    Raises: as `make_run`.
    """
    tasks = _tasks(data, request, [*arms.values()], say)

    async def run() -> TrialResult:
        async with AsyncExitStack() as stack:
            a, b = [
                await stack.enter_async_context(
                    _live_arm(replace(request, out=request.out / name, name=name), settings, data)
                )
                for name, settings in arms.items()
            ]
            return await trial((a, b), tasks, metric, rule, batch, request.repeats, CONCURRENT_USERS, say)

    return asyncio.run(run())


async def _rerank(data: Dataset, request: RunRequest, settings: Settings, say: Say) -> RunFolder:
    tasks = _tasks(data, request, [settings], say)
    async with _live_arm(request, settings, data) as arm:
        await run_rerank(arm.folder, arm.context, tasks, request.repeats, CONCURRENT_USERS, say)
        return arm.folder


def _tasks(data: Dataset, request: RunRequest, arms: list[Settings], say: Say) -> list[RerankTask]:
    for settings in arms:
        data = data.also_trained_on(llm_training_users(settings, data.store, say))
    return request.protocol.tasks(request.protocol.plan(data, say), request.history)


@asynccontextmanager
async def _live_arm(request: RunRequest, settings: Settings, data: Dataset) -> AsyncIterator[LiveArm]:
    """The arm with its folder made and its client open; the retriever's order needs none."""
    templates = load_templates(settings)
    async with nullcontext() if settings.rerank.strategy == "identity" else open_client(settings) as client:
        manifest = manifest_of(
            request.name,
            "rerank",
            settings,
            request.protocol.record,
            data.digest,
            templates,
            options={"repeats": request.repeats, "history": request.history},
            server_version=(await client.capabilities()).server_version if client else None,
        )
        context = RerankContext(settings.rerank, templates, client, fits=rerank_fits(settings.fits_dir))
        yield LiveArm(RunFolder.create(request.out, manifest), context)


def _catalogue(data: Dataset, request: RunRequest, settings: Settings, say: Say) -> RunFolder:
    manifest = manifest_of(
        request.name,
        "catalogue",
        settings,
        request.protocol.record,
        data.digest,
        {"item": load_template("item")},
        options={"system": request.system, "history": request.history},
        catalogue=data.catalogue,
    )
    folder = RunFolder.create(request.out, manifest)
    plan = request.protocol.plan(data, say)
    asked = plan.cases(request.protocol.users)
    say(f"fitting {request.system}")
    rng = np.random.default_rng(request.protocol.seed)
    if request.system == RETRIEVER:
        weights = cross_fit_weights(data, plan.training, plan.others, rng, say)
        scorer = _retriever(settings, plan.others, weights)
    else:
        scorer = cross_fitted(BASELINES[request.system](data), plan.training, FOLDS, rng, plan.split)
    run_catalogue(folder, data, asked, plan.others, scorer, say, plan.ablation(request.history))
    return folder


def _retriever(settings: Settings, others: OutOfFold, weights: UserWeights) -> Scorer:
    def score(case: Case) -> CatalogueScores:
        if not case.history.entries:  # the retriever refuses to guess: what is liked most is all that is left
            return others.touched(case).astype(np.float32)
        retriever = others.retriever(case, settings.retriever, weights(case.user))
        return retriever.scores(Query(history=case.history, target=case.target))[1]

    return score
