"""Reads one GGUF file, produces a plain model folder: bfloat16 safetensors, config, tokenizer, chat template."""

from __future__ import annotations

from pathlib import Path

from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models.conversion import run


def convert(gguf: Path, folder: Path) -> None:
    """Write the dequantized model of `gguf` into `folder`, which is made if it does not exist.

    Raises:
        ModelCorrupt: the file is no GGUF of a causal language model, or it carries no chat template.
        OSError: the folder cannot be written.
    """
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
        if not tokenizer.chat_template:
            raise ModelCorrupt(f"{gguf.name} carries no chat template", hint="name an instruction-tuned model")
        model = transformers.AutoModelForCausalLM.from_pretrained(
            **source,
            dtype=torch.bfloat16,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
    except (ValueError, KeyError, IndexError, NotImplementedError) as exc:
        raise ModelCorrupt(f"{gguf.name} cannot be read as a language model: {exc}", hint="name another model") from exc
    # The saved weights are plain bfloat16: a server must not look for a quantization.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    run(convert, "xdrec_agent.models.gguf IN.gguf FOLDER")
