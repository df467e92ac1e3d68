"""Making runs. Reads what is asked for and settings, produces a finished run folder."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, cast, get_args

import numpy as np

from eval.data import (
    FOLDS,
    CandidateKind,
    Case,
    CatalogueScores,
    Dataset,
    GuardedBaseline,
    OutOfFold,
    RerankTask,
    Say,
    Scorer,
    ShownHistory,
    Split,
    SplitName,
    ablation,
    cases,
    data_hash,
    guard_training,
    guarded_cases,
    histories,
    in_hash_order,
    llm_training_users,
    open_dataset,
    rerank_tasks,
    split_of,
)
from eval.fitting import UserWeights, cross_fit_weights
from eval.runs.arms import manifest_of, settings_again
from eval.runs.catalogue import run_catalogue
from eval.runs.folder import RunFolder, Summary, TaskName
from eval.runs.rerank import run_rerank
from eval.runs.trial import LiveArm, TrialResult, trial
from eval.stats import StoppingRule
from eval.systems import BASELINES, CONCURRENT_USERS, cross_fitted
from retrieval.errors import DataError, UsageError
from retrieval.templates import load_template
from retrieval.types import History, Query
from xdrec_agent.app import load_templates, open_client, open_encoder
from xdrec_agent.rerank import RERANKERS, RerankContext, rerank_fits
from xdrec_agent.settings import Settings

RETRIEVER: Final = "retriever"


@dataclass(frozen=True)
class RunRequest:
    """What `xdrec-eval run` was asked for; `history` is what the system is shown of one
    (`eval.data.history_ablation`)."""

    out: Path
    name: str
    task: str
    system: str
    candidates: str
    users: int
    seed: int
    repeats: int
    split: str = "cold-target"
    history: ShownHistory = "own"

    @property
    def protocol(self) -> dict[str, str | int]:
        """What must be equal for two runs to be compared."""
        common: dict[str, str | int] = {"split": self.split.replace("-", " "), "users": self.users, "seed": self.seed}
        return common | ({"candidates": self.candidates} if self.task == "rerank" else {})

    def check(self) -> None:
        """Raise UsageError where task, system, kind of candidates or split is unknown."""
        check_option("--task", self.task, get_args(TaskName))
        check_option("--system", self.system or RETRIEVER, (RETRIEVER, *BASELINES))
        check_option("--candidates", self.candidates, get_args(CandidateKind))
        check_option("--split", self.split, get_args(SplitName))


def check_option(option: str, given: str, known: Sequence[str]) -> None:
    """Raise UsageError where `given` is none of the known values."""
    if given not in known:
        raise UsageError(f"{option} {given!r} is not known", hint=f"one of: {', '.join(known)}")


@dataclass(frozen=True)
class CasePlan:
    """What a request asks of the data, and what may be learnt for it.

    Attributes:
        people: everybody's whole histories, in an order by hash.
        training: the parts of them that may be learnt from, in the same order.
        others: retrievers and counts out of fold.
    """

    data: Dataset
    request: RunRequest
    people: list[History]
    split: Split
    training: list[History]
    others: OutOfFold

    def cases(self) -> list[Case]:
        """The guarded cases of the first `request.users` users who have any. Raises DataError: a case leaks."""
        users = self.data.without_training_users(self.people)
        by_user = (found for user in users if (found := list(guarded_cases(user, self.data.domains, self.split))))
        return [case for found in islice(by_user, self.request.users) for case in found]

    def tasks(self) -> list[RerankTask]:
        """The reranking tasks of the first `request.users` users. Raises DataError: a case leaks."""
        request, kind = self.request, cast("CandidateKind", self.request.candidates)
        return rerank_tasks(
            self.data,
            request.users,
            request.seed,
            kind=kind,
            split=self.split,
            shown=request.history,
            people=self.people,
        )


def plan_cases(data: Dataset, request: RunRequest, say: Say) -> CasePlan:
    """Read all histories, split them, and make sure that nothing is learnt from what the split hides.

    Raises:
        UsageError: an option of the request is unknown.
        DataError: training data leaks, or a temporal split finds no time.
    """
    request.check()
    say("reading histories")
    people = in_hash_order(histories(data.store), request.seed)
    split = split_of(cast("SplitName", request.split), people)
    if split.moment is not None:
        say(f"the moment between history and truth is {datetime.fromtimestamp(split.moment, UTC):%Y-%m-%d %H:%M} UTC")
    training = [split.learnable(person) for person in people]
    guard_training(training, split)
    return CasePlan(data, request, people, split, training, OutOfFold(data, None if split.moment is None else training))


def make_run(request: RunRequest, data: Path, settings: Settings, say: Say) -> Summary:
    """Make a run, or go on with one that was stopped.

    Raises:
        UsageError: no such task, system, strategy, split or kind of candidates, the folder holds another run, or there
            is no other user whose history could be shown.
        DataError: the data is incomplete, or a case leaks.
        SetupError, LLMError: the model cannot be asked at all.
    """
    settings = _prepared(request, settings)
    encoder, item = open_encoder(settings), load_template("item")
    with open_dataset(data, encoder, item, say) as dataset:
        measure = _catalogue if request.task == "catalogue" else _rerank
        folder = measure(dataset, request, settings, data_hash(data), say)
    return folder.finish()


def replay_run(path: Path, data: Path, say: Say) -> int:
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
            str(protocol["split"]).replace(" ", "-"),
            old.manifest.settings.get("history", "own"),
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
    """What `xdrec-eval trial` was asked for.

    Attributes:
        run: the folder of both arms' runs, and what they share.
        arms: names with their settings.
        batch: users between two looks.
    """

    run: RunRequest
    arms: tuple[tuple[str, Settings], tuple[str, Settings]]
    metric: str
    rule: StoppingRule
    batch: int


def make_trial(request: TrialRequest, data: Path, say: Say) -> TrialResult:
    """Run two arms against each other until the rule says stop, or go on with a trial that was stopped.

    Raises: as `make_run`.
    """
    runs = [replace(request.run, out=request.run.out / name, name=name) for name, _ in request.arms]
    settings = [_prepared(run, arm) for run, (_, arm) in zip(runs, request.arms, strict=True)]

    async def run(dataset: Dataset) -> TrialResult:
        chosen = _tasks(dataset, runs[0], settings, say)
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
                repeats=request.run.repeats,
                at_once=CONCURRENT_USERS,
                say=say,
            )

    with open_dataset(data, open_encoder(settings[0]), load_template("item"), say) as dataset:
        return asyncio.run(run(dataset))


def _prepared(request: RunRequest, settings: Settings) -> Settings:
    """The settings for measuring: all candidates are reranked, and requests may wait. Raises UsageError."""
    request.check()
    check_option("rerank.strategy", settings.rerank.strategy, tuple(RERANKERS))
    rerank = settings.rerank.model_copy(update={"candidates": max(20, settings.rerank.candidates)})
    return settings.model_copy(update={"rerank": rerank}).patient()


def _rerank(dataset: Dataset, request: RunRequest, settings: Settings, data: str, say: Say) -> RunFolder:
    chosen = _tasks(dataset, request, [settings], say)

    async def run() -> RunFolder:
        async with _live(request, settings, data) as arm:
            await run_rerank(arm.folder, arm.context, chosen, request.repeats, CONCURRENT_USERS, say)
            return arm.folder

    return asyncio.run(run())


def _tasks(dataset: Dataset, request: RunRequest, arms: Iterable[Settings], say: Say) -> list[RerankTask]:
    for arm in arms:
        dataset = dataset.also_trained_on(llm_training_users(arm, dataset.store, say))
    return plan_cases(dataset, request, say).tasks()


@asynccontextmanager
async def _live(request: RunRequest, settings: Settings, data: str) -> AsyncIterator[LiveArm]:
    """The arm with its folder made and its client open; the retriever's order needs none."""
    templates = load_templates(settings)
    async with nullcontext() if settings.rerank.strategy == "identity" else open_client(settings) as client:
        version = (await client.capabilities()).server_version if client else None
        manifest = manifest_of(request.name, "rerank", settings, request.protocol, data, templates)
        told = manifest.settings | {"repeats": request.repeats, "history": request.history}
        manifest = manifest.model_copy(update={"settings": told, "server_version": version})
        fits = rerank_fits(settings.fits_dir)
        context = RerankContext(settings.rerank, templates, client, fits=fits)
        yield LiveArm(RunFolder.create(request.out, manifest), context)


def _catalogue(dataset: Dataset, request: RunRequest, settings: Settings, data: str, say: Say) -> RunFolder:
    templates = {"item": load_template("item")}
    manifest = manifest_of(request.name, "catalogue", settings, request.protocol, data, templates)
    told = {
        "settings": manifest.settings | {"system": request.system, "history": request.history},
        "catalogue": dataset.catalogue,
    }
    folder = RunFolder.create(request.out, manifest.model_copy(update=told))
    plan = plan_cases(dataset, request, say)
    asked = plan.cases()
    everybody = (case for person in plan.people for case in cases(person, dataset.domains, plan.split))
    ablate = ablation(request.history, everybody, request.seed)
    say(f"fitting {request.system}")
    others, training = plan.others, plan.training
    rng = np.random.default_rng(request.seed)
    if request.system == RETRIEVER:
        scorer = _retriever(settings, others, cross_fit_weights(dataset, training, others, rng, say))
    else:
        scorer = cross_fitted(GuardedBaseline(BASELINES[request.system](dataset), plan.split), training, FOLDS, rng)
    run_catalogue(folder, dataset, asked, others, scorer, say, ablate)
    return folder


def _retriever(settings: Settings, others: OutOfFold, weights: UserWeights) -> Scorer:
    def score(case: Case) -> CatalogueScores:
        if not case.history.entries:  # the retriever refuses to guess: what is liked most is all that is left
            return others.touched(case).astype(np.float32)
        retriever = others.retriever(case, settings.retriever, weights(case.user))
        return retriever.scores(Query(history=case.history, target=case.target))[1]

    return score
