"""Reads pyproject.toml and constraints.txt, produces constraints-hashes.txt: the base install with hashes of its files.

    python3 scripts/lock.py [--check]

With --check it installs what is locked into a new environment, where pip takes no file that has another hash. Torch and
what belongs to it differ between CPU and GPU: they are not locked, but installed first at the tested version.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bootstrap import CPU_INDEX, ROOT, TORCH, answers

LOCK = ROOT / "constraints-hashes.txt"
HEADER = """\
# The base install, each file by its SHA-256; made by: make lock. Install torch first (scripts/bootstrap.py names its
# version), then: pip install --require-hashes --no-deps -r constraints-hashes.txt && pip install --no-deps xdrec
"""
UNLOCKED = re.compile(r"(torch|triton|setuptools|nvidia-[^=]*|cuda-[^=]*)==")
TOOLS = ROOT / "build" / "tools-venv" / "bin"
VENV = ROOT / "build" / "lock-venv"


def main() -> int:
    """Write the lock, or check it; 0 when that went well."""
    parser = argparse.ArgumentParser(description="Lock the base install with hashes.")
    parser.add_argument("--check", action="store_true", help="install what is locked")
    (check if parser.parse_args().check else write)()
    return 0


def write() -> None:
    """Resolve the base install under the constraints; the hashes are those of the files for every platform."""
    with tempfile.TemporaryDirectory() as folder:
        torch, compiled = Path(folder, "torch.txt"), Path(folder, "compiled.txt")
        torch.write_text(f"{TORCH}\n", encoding="utf-8")
        command = [TOOLS / "pip-compile", "--quiet", "--generate-hashes", "--strip-extras", "--no-annotate"]
        command += ["--no-header", "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"]
        command += ["--constraint", ROOT / "constraints.txt", "--constraint", torch, "--output-file", compiled]
        subprocess.run([*command, ROOT / "pyproject.toml"], check=True)
        LOCK.write_text(HEADER + locked(compiled.read_text(encoding="utf-8")), encoding="utf-8")


def locked(compiled: str) -> str:
    """What pip-compile wrote, without comments and what is not locked."""
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^#.*\n|^\n", "", compiled))
    return "".join(entry for entry in entries if not UNLOCKED.match(entry))


def check() -> None:
    """Install torch, the locked files and this package, and see that nothing is missing."""
    index = ["--extra-index-url", CPU_INDEX] if sys.platform == "linux" and answers(CPU_INDEX) else []
    pip = [VENV / "bin" / "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    subprocess.run([*pip, "install", "--progress-bar=off", TORCH, *index], check=True)
    hashed = ["--require-hashes", "--no-deps", "--requirement", LOCK]
    subprocess.run([*pip, "install", "--progress-bar=off", *hashed], check=True)
    subprocess.run([*pip, "install", "--progress-bar=off", "--no-deps", ROOT], check=True)
    subprocess.run([*pip, "check"], check=True)
    subprocess.run([VENV / "bin" / "xdrec", "--version"], check=True)


if __name__ == "__main__":
    sys.exit(main())
