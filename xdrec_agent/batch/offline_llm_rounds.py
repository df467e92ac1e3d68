"""Rounds with Ray's vLLM stage. Reads parts with their candidates, works out what their answers need, writes them.

Each round every part goes as far as the replies at hand allow (`Collect`) and the stage answers what it would ask next.
Replies meet in the driver: some hundred bytes a request, for one wave of parts at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from retrieval.errors import UsageError
from retrieval.relations import RelationGraph
from xdrec_agent.app import load_templates, make_recommender, open_relations, open_retriever, open_store
from xdrec_agent.batch.offline_llm_client import StagedClient
from xdrec_agent.batch.stages import Asked, PartReplies, client_of
from xdrec_agent.batch.vllm_stage import answered, requests_of
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


class Collect:
    """What parts would ask next: rows with part, key and `Wanted` as JSON."""

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
        for part in parts.select(["part", "asked"]).to_pylist():
            client = client_of(self._settings, self._replies, part["part"], final=False)
            recommender = make_recommender(self._settings, self._retriever, client)
            asked = [Asked.model_validate_json(one) for one in part["asked"]]
            asyncio.run(collect(recommender, client, asked, explain=self._explain))
            found += requests_of(part["part"], client.wanted)
        columns = {name: pa.string() for name in ("part", "key", "wanted")}
        return pa.Table.from_pylist(found, schema=pa.schema(columns))


async def collect(recommender: Recommender, client: StagedClient, asked: Sequence[Asked], *, explain: bool) -> None:
    """Leave in `client.wanted` what the users' answers need next: first an order, then its reasons."""
    for one in asked:
        if one.query is None or one.retrieved is None:
            continue
        before = len(client.wanted)
        answer = await recommender.rank(one.query, one.retrieved)
        if explain and len(client.wanted) == before:
            async for _ in recommender.explain(one.query, answer):
                pass


def worked_out(asked: Dataset, settings: Settings, *, explain: bool, stage: Stage = answered) -> Replies:
    """The replies that the parts need.

    Args:
        asked: parts as `Retrieve` leaves them, worked out already: they are read in every round.
    """
    replies: Replies = {}
    for _ in range(ROUNDS):
        wanted = asked.map_batches(
            Collect,
            fn_constructor_args=(settings, explain, replies),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.5,
            concurrency=(1, max(1, asked.num_blocks())),
        ).materialize()
        if not wanted.count():
            break
        for row in stage(wanted, settings).iter_rows():
            if row.get("reply"):
                replies.setdefault(row["part"], {})[row["key"]] = row["reply"]
    return replies


def check_stage(settings: Settings) -> None:
    """Raise UsageError where the settings ask for what the stage cannot give."""
    client = StagedClient(settings.llm.model, {}, final=True)
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
