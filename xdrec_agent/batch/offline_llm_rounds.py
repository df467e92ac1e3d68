"""Rounds with Ray's vLLM stage. Reads parts with their candidates, works out what their answers need, writes them.

In each round every part goes as far as the replies at hand allow (`CollectRequests`), and the stage answers what it
would ask next. Replies meet in the driver: some hundred bytes a request, for one wave of parts at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from retrieval.errors import UsageError
from retrieval.relations import RelationGraph
from xdrec_agent.app import load_templates, make_recommender, open_relations, open_retriever, open_store
from xdrec_agent.batch.offline_llm_client import OfflineLLMClient
from xdrec_agent.batch.stages import PartReplies, PreparedUser, offline_client
from xdrec_agent.batch.vllm_stage import requests_of, vllm_replies
from xdrec_agent.rerank import RerankContext, asked_judge, rerank_fits, weight_of
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

    from xdrec_agent.recommend import Recommender

ROUNDS: Final = 10
"""At most so many; shuffles take up to four, a reason two. What is lacking then is degraded."""

Replies = dict[str, dict[str, str]]
Stage = Callable[["Dataset", Settings], "Dataset"]


class CollectRequests:
    """What parts would ask next: rows with part, key and `OfflineRequest` as JSON."""

    def __init__(self, settings: Settings, explain: bool, replies: PartReplies) -> None:
        self._settings = settings
        self._explain = explain
        self._replies = replies
        self._store = open_store(settings, create=False)
        self._retriever = open_retriever(settings, self._store, RelationGraph(open_relations(settings, create=False)))

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Go through the parts' users."""
        import pyarrow as pa

        found = []
        for part in parts.select(["part", "prepared"]).to_pylist():
            client = offline_client(self._settings, self._replies, part["part"], final=False)
            recommender = make_recommender(self._settings, self._retriever, client)
            prepared = [PreparedUser.model_validate_json(one) for one in part["prepared"]]
            asyncio.run(collect(recommender, client, prepared, explain=self._explain))
            found += requests_of(part["part"], client.pending)
        columns = {name: pa.string() for name in ("part", "key", "wanted")}
        return pa.Table.from_pylist(found, schema=pa.schema(columns))


async def collect(
    recommender: Recommender, client: OfflineLLMClient, prepared: Sequence[PreparedUser], *, explain: bool
) -> None:
    """Leave in `client.pending` what the users' answers need next: first an order, then its reasons."""
    for user in prepared:
        if user.query is None or user.retrieved is None:
            continue
        before = len(client.pending)
        answer = await recommender.rank(user.query, user.retrieved)
        if explain and len(client.pending) == before:
            async for _ in recommender.explain(user.query, answer):
                pass


def collect_replies(prepared: Dataset, settings: Settings, *, explain: bool, stage: Stage = vllm_replies) -> Replies:
    """The replies that the parts need.

    Args:
        prepared: parts as `Retrieve` leaves them, worked out already: they are read in every round.
    """
    replies: Replies = {}
    for _ in range(ROUNDS):
        wanted = prepared.map_batches(
            CollectRequests,
            fn_constructor_args=(settings, explain, replies),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.5,
            concurrency=(1, max(1, prepared.num_blocks())),
        ).materialize()
        if not wanted.count():
            break
        for row in stage(wanted, settings).iter_rows():
            if row.get("reply"):
                replies.setdefault(row["part"], {})[row["key"]] = row["reply"]
    return replies


def check_stage(settings: Settings) -> None:
    """Raise UsageError where the settings ask for what the stage cannot give."""
    client = OfflineLLMClient(settings.llm.model, {}, final=True)
    fits = rerank_fits(settings.fits_dir)
    context = RerankContext(settings.rerank, load_templates(settings), client, fits=fits)
    silent = settings.rerank.strategy == "hybrid" and weight_of(context) == 0
    if asked_judge(context) == "pointwise-logprob" and not silent:
        hint = "--engine servers, or rerank.judge = listwise-logprob"
        raise UsageError("pointwise-logprob needs a server", hint=hint)


def waves(sizes: Sequence[int], most: int = 65_536) -> Iterator[slice]:
    """Parts, by their numbers of users, in runs of about `most` users: the engine starts anew for each round."""
    start = users = 0
    for end, size in enumerate(sizes, 1):
        users += size
        if users >= most or end == len(sizes):
            yield slice(start, end)
            start, users = end, 0
