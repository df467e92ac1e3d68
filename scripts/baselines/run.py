"""Runs the baselines of other libraries. Reads the benchmarks' data, produces a run folder for each library.

    .venv/bin/python scripts/baselines/run.py [lightfm surprise tfrs] [--data ../shared/data] [--users 1008]

Each library gets a virtual environment of its own, is tried on a toy, answers the export, and its rankings are measured
like our own runs. What is finished is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from smoke import Broken, smoke

HERE = Path(__file__).resolve().parent
EVAL = Path(sys.executable).with_name("xdrec-eval")
PROGRAMS = {"lightfm": "lightfm_hybrid.py", "surprise": "surprise_svd.py", "tfrs": "tfrs_two_tower.py"}


def main() -> int:
    """Run all that are named; 0 if every one of them came in."""
    parser = argparse.ArgumentParser(description="Baselines of other libraries, as run folders.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}; default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="as for xdrec-eval run")
    parser.add_argument("--users", type=int, default=1008, help="as for xdrec-eval run")
    parser.add_argument("--home", type=Path, default=Path("build/baselines"), help="environments, export, rankings")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in PROGRAMS]
    if unknown:
        parser.error(f"no baseline {unknown[0]}; there are {', '.join(PROGRAMS)}")
    export = args.home.absolute() / f"export-{args.users}"
    failed = []
    try:
        if not (export / "export.json").exists():
            shutil.rmtree(export, ignore_errors=True)
            call([EVAL, "export", export, "--data", args.data, "--users", str(args.users)])
        for name in args.names or PROGRAMS:
            try:
                run(name, args.home.absolute() / name, export, args.runs / name, args.data)
            except (Broken, subprocess.CalledProcessError) as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                failed.append(name)
    except subprocess.CalledProcessError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 1 if failed else 0


def run(name: str, home: Path, export: Path, out: Path, data: Path) -> None:
    """One library, from its environment to its run folder. Raises Broken, CalledProcessError."""
    command = [environment(name, home / "venv"), HERE / PROGRAMS[name]]
    with tempfile.TemporaryDirectory() as folder:
        print(f"{name}: {smoke(command, Path(folder)):.2f} of the toy's first items have the right taste", flush=True)
    answers = home / export.name
    call([*command, export, answers])
    call([EVAL, "import-run", out, "--rankings", answers, "--export", export, "--data", data, "--name", name])


def environment(name: str, venv: Path) -> Path:
    """The Python of the library's environment, made where it is not there or its requirements have changed."""
    requirements = HERE / "requirements" / f"{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    python, stamp = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"), venv / "requirements"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        call([sys.executable, "-m", "venv", "--clear", venv])
        call([python, "-m", "pip", "install", "--quiet", "--requirement", requirements])
        stamp.write_text(wanted, encoding="utf-8")
    return python


def call(command: Sequence[str | Path]) -> None:
    """Run a program whose output goes where ours goes."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
