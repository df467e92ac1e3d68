"""Reads wheel and sdist, produces a verdict: do they hold what they should, and does the wheel work where it is alone.

    python3 scripts/check_dist.py [--dist dist] [--venv build/dist-venv]

The wheel is installed into a new environment without extras. There, from a folder that has an `eval` and a `prompts` of
its own, two small catalogues are ingested and indexed by the real encoder, and books are recommended for films.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from bootstrap import CPU_INDEX, ROOT, TORCH, answers

PACKAGES = ("retrieval", "xdrec_agent", "eval")
WHEEL_HOLDS = (
    "retrieval/py.typed",
    "retrieval/prompts/rerank.jinja",
    "retrieval/prompts/en/sentences.yaml",
    "retrieval/ranking/shipped_fusion.json",
    "xdrec_agent/rerank/shipped_fits.json",
    "xdrec_agent/models/shipped/minilm-taste/adapter_model.safetensors",
    "xdrec_agent/service/static/index.html",
    "eval/studies/attacks.yaml",
)
SDIST_HOLDS = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "prompts/rerank.jinja", "tests/conftest.py")
FILMS = (
    "id,title,description\nf1,Alien,A crew meets a deadly creature in deep space.\nf2,Heat,A thief and a detective.\n"
)
BOOKS = (
    "id,title,description\nb1,Solaris,Scientists study a living ocean in space.\nb2,Emma,A matchmaker errs in love.\n"
)


class Refused(Exception):
    """A distribution is not as it should be; the message says what."""


def main() -> int:
    """Check both; 0 when all is well, 1 with a message when not."""
    parser = argparse.ArgumentParser(description="Check wheel and sdist.")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where they lie (default: dist)")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "dist-venv", help="environment to make anew")
    args = parser.parse_args()
    try:
        (wheel,), (sdist,) = args.dist.glob("*.whl"), args.dist.glob("*.tar.gz")
        check_wheel(wheel)
        check_sdist(sdist)
        print(f"[dist] {wheel.name} and {sdist.name} hold what they should")
        install(wheel, args.venv)
        print(f"[dist] installed: {size_mb(args.venv):,} MB")
        smoke(args.venv)
        print("[dist] the installed wheel ingests, indexes and recommends")
    except (Refused, ValueError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def check_wheel(wheel: Path) -> None:
    """Raises Refused: something besides the packages lies in the wheel, or something of them is missing."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    foreign = {top for top in tops if not top.endswith(".dist-info")} ^ set(PACKAGES)
    missing = set(WHEEL_HOLDS) - names
    if not any(name.endswith("licenses/LICENSE") for name in names):
        missing.add("LICENSE")
    if foreign or missing:
        raise Refused(f"{wheel.name}: not as expected: {', '.join(sorted(foreign | missing))}")


def check_sdist(sdist: Path) -> None:
    """Raises Refused: a file is missing, or what only the project's own measurements need is in it."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = {name for name in SDIST_HOLDS if name not in names}
    foreign = {name for name in names if name.split("/")[0] in {"benchmarks", "build", "dist", ".venv"}}
    if missing or foreign:
        raise Refused(f"{sdist.name}: not as expected: {', '.join(sorted(missing | foreign)[:5])}")


def install(wheel: Path, venv: Path, extras: str = "") -> None:
    """Make the environment anew and install the wheel with torch for the CPU. Raises Refused."""
    _run([sys.executable, "-m", "venv", "--clear", venv])
    index = ["--extra-index-url", CPU_INDEX] if sys.platform == "linux" and answers(CPU_INDEX) else []
    pip = [venv / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--progress-bar=off"]
    _run([*pip, TORCH, *index, "--constraint", ROOT / "constraints.txt", f"{wheel}{extras}"])


def smoke(venv: Path) -> None:
    """Use the installed program as a newcomer would. Raises Refused: a step fails or gives something else."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in ("eval", "prompts"):
            (folder / package).mkdir()
            (folder / package / "__init__.py").write_text("raise RuntimeError('not this one')", encoding="utf-8")
        (folder / "films.csv").write_text(FILMS, encoding="utf-8")
        (folder / "books.csv").write_text(BOOKS, encoding="utf-8")

        def xdrec(*arguments: str) -> str:
            return _run([venv / "bin" / "xdrec", *arguments], folder)

        if not xdrec("--version").strip():
            raise Refused("xdrec --version says nothing")
        if "recommend" not in xdrec("--help"):
            raise Refused("xdrec --help does not know its commands")
        xdrec("models", "pull", "minilm-taste")
        for domain in ("films", "books"):
            xdrec("ingest", domain, f"{domain}.csv")
            xdrec("index", domain)
        ask = ("recommend", "--from", "films", "--to", "books", "--like", "Alien", "--no-explain", "--json")
        answer = json.loads(xdrec(*ask))
        titles = [entry["item"]["title"] for entry in answer["items"]]
        if titles[:1] != ["Solaris"]:
            raise Refused(f"books for Alien are {titles}")
        _run([venv / "bin" / "xdrec-eval", "--help"], folder)


def size_mb(folder: Path) -> int:
    """What a folder takes on disk, as `du` counts it: whole blocks, a linked file once; MB of 10^6 bytes."""
    blocks = {(s.st_dev, s.st_ino): s.st_blocks for s in (path.lstat() for path in folder.rglob("*"))}
    return 512 * sum(blocks.values()) // 10**6


def _run(command: list[str | Path], folder: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDREC_", "PYTHON"))}
    if "XDREC_MODELS_DIR" in os.environ:
        environment["XDREC_MODELS_DIR"] = os.environ["XDREC_MODELS_DIR"]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise Refused(f"{' '.join(map(str, command))} ended with {result.returncode}:\n{result.stderr[-2000:]}")
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
