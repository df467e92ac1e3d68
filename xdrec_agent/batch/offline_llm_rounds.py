"""Rounds with Ray's vLLM stage. Reads parts with their candidates, produces the model's replies that they need.

In each round every part goes as far as the replies at hand allow (`CollectRequests`), and the stage, on the GPUs of the
cluster, answers what it would ask next. Replies meet in the driver: some hundred bytes a request, for one wave of parts
at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from retrieval.errors import ModelMissing, SetupError, UsageError
from xdrec_agent.app import load_templates, make_recommender
from xdrec_agent.batch.offline_llm_client import OfflineLLMClient, OfflineReply, OfflineRequest
from xdrec_agent.batch.stages import PartReplies, PreparedUser, offline_client, open_retrieval
from xdrec_agent.models import find_model, label_token_ids
from xdrec_agent.rerank import LABELS, RerankContext, asked_judge, rerank_fits, weight_of
from xdrec_agent.server import MAX_LABELS
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

ROUNDS: Final = 10
"""At most so many; shuffles take up to four, a reason two. What is lacking then is degraded."""

Replies = dict[str, dict[str, str]]
Stage = Callable[["Dataset", Settings], "Dataset"]


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


class CollectRequests:
    """What parts would ask next: rows with part, key and `OfflineRequest` as JSON."""

    def __init__(self, settings: Settings, explain: bool, replies: PartReplies) -> None:
        self._settings = settings
        self._explain = explain
        self._replies = replies
        _, self._retriever = open_retrieval(settings)

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Go through the parts' users."""
        import pyarrow as pa

        rows = []
        for part in parts.select(["part", "prepared"]).to_pylist():
            prepared = [PreparedUser.model_validate_json(user) for user in part["prepared"]]
            pending = asyncio.run(self._pending(part["part"], prepared))
            rows += [{"part": part["part"], "key": key, "request_json": request} for key, request in pending.items()]
        columns = {name: pa.string() for name in ("part", "key", "request_json")}
        return pa.Table.from_pylist(rows, schema=pa.schema(columns))

    async def _pending(self, part: str, prepared: Sequence[PreparedUser]) -> dict[str, str]:
        """What the users' answers need next, by key: first an order, then its reasons."""
        client = offline_client(self._settings, self._replies, part, final=False)
        recommender = make_recommender(self._settings, self._retriever, client)
        for user in prepared:
            if user.query is None or user.retrieved is None:
                continue
            before = len(client.pending)
            answer = await recommender.rank(user.query, user.retrieved)
            if self._explain and len(client.pending) == before:
                async for _ in recommender.explain(user.query, answer):
                    pass
        return {key: request.model_dump_json() for key, request in client.pending.items()}


def vllm_stage(rows: Dataset, settings: Settings) -> Dataset:
    """Rows with part, key and reply (`OfflineReply` as JSON), which is missing where the engine failed.

    Args:
        rows: as `CollectRequests` leaves them.

    Raises:
        SetupError: the cluster has no GPU.
        UsageError: an adapter is configured, or a label is not exactly one token of the model.
    """
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig
    from transformers import AutoTokenizer

    gpus = int(ray.cluster_resources().get("GPU", 0))
    if not gpus:
        raise SetupError("the cluster has no GPU", hint="--engine servers, or add machines with GPUs")
    if settings.llm.adapter:
        raise UsageError("the vLLM stage serves no adapters", hint="xdrec adapt use merges one into the model")
    try:
        source = str(find_model(settings.llm.model, settings.models_dir))  # it must be there on every machine
    except ModelMissing:
        source = settings.llm.model  # the hub's name
    ids = label_token_ids(AutoTokenizer.from_pretrained(source, trust_remote_code=False), LABELS)
    config = vLLMEngineProcessorConfig(
        model_source=source,
        engine_kwargs={
            "max_model_len": settings.llm.max_model_len,
            "max_logprobs": MAX_LABELS,
            "enable_prefix_caching": True,
            "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
        },
        concurrency=gpus,
        batch_size=64,
        should_continue_on_error=True,
    )
    replied: Dataset = build_processor(
        config,
        preprocess=lambda row: row | engine_row(OfflineRequest.model_validate_json(row["request_json"]), ids),
        postprocess=lambda row: {"part": row["part"], "key": row["key"], "reply": reply_of(row, ids)},
    )(rows)
    return replied


def engine_row(request: OfflineRequest, ids: Mapping[str, int]) -> dict[str, Any]:
    """What the engine is given: all rows have the same columns, so that they go into one table."""
    return {
        "messages": [{"role": role, "content": content} for role, content in request.messages],
        "sampling_params": {
            "temperature": 0.0,
            "max_tokens": request.max_tokens,
            "logprob_token_ids": [ids[label] for label in request.labels] or None,
            "structured_outputs": {"json": request.form} if request.form else None,
        },
    }


def reply_of(row: Mapping[str, Any], ids: Mapping[str, int]) -> str:
    """The engine's reply as an `OfflineReply` in JSON."""
    request = OfflineRequest.model_validate_json(row["request_json"])
    first = next(iter(row.get("logprobs") or ()), None) or {}
    # A table turns the token ids into names of fields, empty where another row had them.
    by_id = {str(token): entry["logprob"] for token, entry in first.items() if entry}
    written = int(row["num_generated_tokens"])
    return OfflineReply(
        text=row["generated_text"],
        logprobs={label: by_id[str(ids[label])] for label in request.labels if str(ids[label]) in by_id},
        complete=written < request.max_tokens,
        prompt_tokens=int(row["num_input_tokens"]),
        completion_tokens=written,
    ).model_dump_json()


def collect_replies(prepared: Dataset, settings: Settings, *, explain: bool, stage: Stage = vllm_stage) -> Replies:
    """The replies that the parts need, by part and key.

    Args:
        prepared: parts as `Retrieve` leaves them, worked out already: they are read in every round.
    """
    replies: Replies = {}
    for _ in range(ROUNDS):
        requests = prepared.map_batches(
            CollectRequests,
            fn_constructor_args=(settings, explain, replies),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.5,
            concurrency=(1, max(1, prepared.num_blocks())),
        ).materialize()
        if not requests.count():
            break
        for row in stage(requests, settings).iter_rows():
            if row.get("reply"):
                replies.setdefault(row["part"], {})[row["key"]] = row["reply"]
    return replies
