"""Ray's vLLM stage. Reads rows of requests, produces rows of replies, on the GPUs of a cluster.

Column `wanted` holds a `OfflineRequest` as JSON; `reply` gets a `OfflineReply` as JSON. All other columns come along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retrieval.errors import ModelMissing, SetupError, UsageError
from xdrec_agent.batch.offline_llm_client import OfflineReply, OfflineRequest
from xdrec_agent.errors import LLMRefused
from xdrec_agent.models import find_model
from xdrec_agent.rerank import LABELS
from xdrec_agent.server import MAX_LABELS
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    from ray.data import Dataset

Row = dict[str, Any]


def model_source(settings: Settings) -> str:
    """Where the stage finds the model: its folder, which must be there on every machine, or else its name at the hub.

    Raises:
        UsageError: an adapter is configured.
    """
    if settings.llm.adapter:
        raise UsageError("the vLLM stage serves no adapters", hint="xdrec adapt use merges one into the model")
    try:
        return str(find_model(settings.llm.model, settings.models_dir))
    except ModelMissing:
        return settings.llm.model


def token_ids(source: str) -> dict[str, int]:
    """The id of each label's token where an answer begins, by the model's own tokenizer and chat template.

    Raises:
        LLMRefused: a label is not exactly one token there.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)

    def tokens(*answer: dict[str, str]) -> list[int]:
        chat, begun = [{"role": "user", "content": "Hello"}, *answer], bool(answer)
        text = tokenizer.apply_chat_template(
            chat, tokenize=False, continue_final_message=begun, add_generation_prompt=not begun
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    base, found = tokens(), {}
    for label in LABELS:
        *before, last = tokens({"role": "assistant", "content": label})
        if before != base:
            raise LLMRefused(f"the label {label!r} is not exactly one token for {source}", hint="use another model")
        found[label] = last
    return found


def vllm_replies(rows: Dataset, settings: Settings) -> Dataset:
    """The rows with their replies; a row that the engine failed at has none.

    Raises:
        SetupError: vLLM is not installed, or the cluster has no GPU.
    """
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    gpus = int(ray.cluster_resources().get("GPU", 0))
    if not gpus:
        raise SetupError("the cluster has no GPU", hint="--engine servers, or add machines with GPUs")
    source = model_source(settings)
    ids = token_ids(source)
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
    done: Dataset = build_processor(
        config,
        preprocess=lambda row: row | engine_row(OfflineRequest.model_validate_json(row["wanted"]), ids),
        postprocess=lambda row: {"part": row["part"], "key": row["key"], "reply": reply_of(row, ids)},
    )(rows)
    return done


def engine_row(wanted: OfflineRequest, ids: Mapping[str, int]) -> Row:
    """What the engine is given: all rows have the same columns, so that they go into one table."""
    labels = [ids[label] for label in wanted.labels]
    return {
        "messages": [{"role": role, "content": content} for role, content in wanted.messages],
        "sampling_params": {
            "temperature": 0.0,
            "max_tokens": wanted.max_tokens,
            "logprob_token_ids": labels or None,
            "structured_outputs": {"json": wanted.form} if wanted.form else None,
        },
    }


def reply_of(row: Row, ids: Mapping[str, int]) -> str:
    """The engine's reply as a `OfflineReply` in JSON."""
    wanted = OfflineRequest.model_validate_json(row["wanted"])
    first = next(iter(row.get("logprobs") or ()), None) or {}
    # A table turns the token ids into names of fields, empty where another row had them.
    by_id = {str(token): said["logprob"] for token, said in first.items() if said}
    found = {label: by_id[str(ids[label])] for label in wanted.labels if str(ids[label]) in by_id}
    written = int(row["num_generated_tokens"])
    return OfflineReply(
        text=row["generated_text"],
        logprobs=found,
        complete=written < wanted.max_tokens,
        prompt_tokens=int(row["num_input_tokens"]),
        completion_tokens=written,
    ).model_dump_json()


def requests_of(part: str, wanted: Mapping[str, OfflineRequest]) -> list[Row]:
    """The rows of a part's requests."""
    return [{"part": part, "key": key, "wanted": one.model_dump_json()} for key, one in wanted.items()]
