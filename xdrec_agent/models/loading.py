"""Language models in memory. Reads a model's folder, produces weights and tokenizer; never runs code of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import ModelMissing, UsageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


def load_llm(folder: Path, device: torch.device) -> Any:  # noqa: ANN401 (a transformers model)
    """A causal language model, in bfloat16 where the device multiplies it, else in float32. Raises ModelMissing."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as exc:
        raise ModelMissing(f"{folder} does not load as a language model: {exc}", hint="xdrec models pull") from exc
    return model.to(device)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises ModelMissing."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as exc:
        raise ModelMissing(f"{folder} holds no tokenizer: {exc}", hint="xdrec models pull") from exc


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """The tokens of a text, no special ones added."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def chat_token_ids(tokenizer: PreTrainedTokenizerBase, chat: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
    """The tokens of a chat up to where the answer begins, or goes on if the assistant has the last word."""
    begun = chat[-1]["role"] == "assistant"
    text = tokenizer.apply_chat_template(
        list(map(dict, chat)), tokenize=False, continue_final_message=begun, add_generation_prompt=not begun
    )
    return token_ids(tokenizer, text)


def label_token_ids(tokenizer: PreTrainedTokenizerBase, labels: Sequence[str]) -> dict[str, int]:
    """The token of each label where an answer begins, by the model's own chat template.

    Raises:
        UsageError: a label is not exactly one token there.
    """
    question = {"role": "user", "content": "Hello"}
    prompt, ids = chat_token_ids(tokenizer, [question]), {}
    for label in labels:
        *before, last = chat_token_ids(tokenizer, [question, {"role": "assistant", "content": label}])
        if tuple(before) != prompt:
            name = tokenizer.name_or_path
            raise UsageError(f"the label {label!r} is not exactly one token for {name}", hint="take another model")
        ids[label] = last
    return ids
