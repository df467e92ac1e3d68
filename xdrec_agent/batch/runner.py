"""Running a batch. Reads a request and settings, makes the stages on Ray go through what is not done yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from retrieval.errors import UsageError
from retrieval.types import Frozen
from xdrec_agent.app import open_index, open_store
from xdrec_agent.batch.cluster import cluster
from xdrec_agent.batch.folder import ResultFolder
from xdrec_agent.batch.offline_llm_rounds import check_stage, collect_replies, waves
from xdrec_agent.batch.plan import ALL, Job, Request, make_job, partitions, read_users
from xdrec_agent.batch.stages import Answer, PartReplies, Retrieve, parts_table, unattended
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    from ray.data import Dataset

Progress = Callable[[int, int], None]
"""Told how many users of how many are done."""


class BatchReport(Frozen):
    """What a run did. `users`, `parts` and `degraded` are those of the whole folder, `made` and `seconds` the run's."""

    output: str
    parts: int
    users: int
    degraded: int
    made: int
    seconds: float


Todo = list[tuple[str, tuple[str, ...]]]
"""Parts by name, each with the users to work for."""


def run_batch(settings: Settings, request: Request, progress: Progress | None = None) -> BatchReport:
    """Recommend for all users that are not done yet; each finished part stays, however the run ends.

    Raises:
        UsageError: the folder holds the results of other arguments, a domain is unknown, or there are no users.
        SetupError: a domain is not indexed, or Ray is not installed.
        ClusterError: Ray failed.
        BackendError: store, index or folder failed.
    """
    began, settings = time.monotonic(), unattended(settings)
    _check(settings, request)
    folder = ResultFolder(request.output)
    job = _begun(settings, request, folder)
    before = folder.done()
    if request.retry:
        todo = [(name, tuple(folder.degraded(name))) for name, record in before.items() if record.degraded]
    else:
        todo = [(part.name, part.users) for part in folder.plan() if part.name not in before]
    sizes = {name: len(users) for name, users in todo}
    if todo:
        work, worked = _by_vllm if request.engine == "vllm" else _by_servers, 0
        with cluster(request.ray):
            for name in work(settings, request, job, todo):
                worked += sizes[name]
                if progress:
                    progress(worked, sum(sizes.values()))
        folder.sweep()
    done = folder.done().values()
    return BatchReport(
        output=request.output,
        parts=len(done),
        users=sum(record.users for record in done),
        degraded=sum(record.degraded for record in done),
        made=sum(sizes.values()),
        seconds=time.monotonic() - began,
    )


def _check(settings: Settings, request: Request) -> None:
    """What is wrong for all users is said before any is worked for."""
    with open_store(settings, create=False) as store, open_index(settings) as index:
        for domain in (*request.sources, request.target):
            if not store.has(domain):
                have = ", ".join(store.domain_names()) or "none yet"
                raise UsageError(f"there is no domain {domain!r} (domains: {have})", hint=f"xdrec ingest {domain} FILE")
            index.snapshot(domain)
    if request.engine == "vllm":
        check_stage(settings)
    if request.target in request.sources:
        raise UsageError(f"{request.target!r} is both source and target", hint="name different domains")


def _begun(settings: Settings, request: Request, folder: ResultFolder) -> Job:
    """The folder's job, begun now if there is none."""
    before, users = folder.job(), list[str]()
    if before is None or not request.users == ALL == before.users:  # else those who were planned then are meant
        with open_store(settings, create=False) as store:
            users = read_users(request.users, store, request.sources)
    job = make_job(settings, request, users)
    if before is not None and before != job:
        raise UsageError(
            f"{request.output} holds the results of other arguments: {'; '.join(before.differences(job))}",
            hint="repeat those of the first run, or name another --output",
        )
    if before is None:
        if request.retry:
            raise UsageError(f"{request.output} holds no results yet", hint="leave --retry out the first time")
        folder.begin(job, list(partitions(job, users)))
    return job


def _by_servers(settings: Settings, request: Request, job: Job, todo: Todo) -> Iterator[str]:
    """One stream from stage to stage; the names of the parts as they are written."""
    yield from _answer(_retrieve(settings, job, todo), settings, request, job, len(todo))


def _by_vllm(settings: Settings, request: Request, job: Job, todo: Todo) -> Iterator[str]:
    """Wave after wave: retrieve, work out all replies in rounds, answer with them."""
    for wave in waves([len(users) for _, users in todo]):
        prepared = _retrieve(settings, job, todo[wave]).materialize()
        replies = collect_replies(prepared, settings, explain=job.explain)
        yield from _answer(prepared, settings, request, job, len(todo[wave]), replies)


def _retrieve(settings: Settings, job: Job, todo: Todo) -> Dataset:
    import ray
    from ray.data import ActorPoolStrategy, from_arrow

    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    # A block for each part: parts are what is worked for, made again and written.
    return from_arrow([parts_table([part]) for part in todo]).map_batches(
        Retrieve,
        fn_constructor_args=(settings, job),
        compute=ActorPoolStrategy(min_size=1, max_size=min(cores, len(todo))),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=0.5,
    )


def _answer(
    prepared: Dataset, settings: Settings, request: Request, job: Job, parts: int, replies: PartReplies | None = None
) -> Iterator[str]:
    """Answer and write parts; their names, each as soon as it is written."""
    import ray
    from ray.data import ActorPoolStrategy

    actors = min(sum(node["Alive"] for node in ray.nodes()), parts)
    # All of them together keep to the limit of each server.
    llm = settings.llm.model_copy(update={"concurrency": -(-settings.llm.concurrency // actors)})
    written = prepared.map_batches(
        Answer,
        fn_constructor_args=(settings.model_copy(update={"llm": llm}), job, request.output),
        fn_constructor_kwargs={"retry": request.retry, "replies": replies},
        compute=ActorPoolStrategy(size=actors),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=0.5,
    )
    for batch in written.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from batch["part"].to_pylist()
