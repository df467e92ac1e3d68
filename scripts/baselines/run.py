"""Runs all baselines. Reads the benchmarks' data, produces a run folder for each, and a report that compares them.

    .venv/bin/python scripts/baselines/run.py [bm25 lightfm …] [--data ../shared/data] [--users 1008]

The built-in ones are run beside our retriever. Each of the other libraries gets a virtual environment of its own, is
tried on a toy, answers the export, and its rankings are measured like our own runs. What is finished is not done again.
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

from eval.systems import BASELINES

HERE = Path(__file__).resolve().parent
EVAL = Path(sys.executable).with_name("xdrec-eval")
METRICS = ("recall@100", "seen recall@100", "unseen recall@100", "ndcg@10", "mrr")
OURS = "retriever"
PROGRAMS = {"lightfm": "lightfm_hybrid.py", "surprise": "surprise_svd.py", "tfrs": "tfrs_two_tower.py"}


def main() -> int:
    """Run all that are named; 0 if every one of them came in."""
    known = [*BASELINES, *PROGRAMS]
    parser = argparse.ArgumentParser(description="All baselines, as run folders, and a report that compares them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="as for xdrec-eval run")
    parser.add_argument("--users", type=int, default=1008, help="as for xdrec-eval run")
    parser.add_argument("--home", type=Path, default=Path("build/baselines"), help="environments, export, rankings")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"no baseline {unknown[0]}; there are {', '.join(known)}")
    names, home = args.names or known, args.home.absolute()
    export = home / f"export-{args.users}"
    try:
        measure(OURS, args)
        if set(names) & set(PROGRAMS) and not (export / "export.json").exists():
            shutil.rmtree(export, ignore_errors=True)
            call([EVAL, "export", export, "--data", args.data, "--users", str(args.users)])
        made, failed = [OURS], []
        for name in names:
            try:
                if name in PROGRAMS:
                    run(name, home / name, export, args.runs / name, args.data)
                else:
                    measure(name, args)
                made.append(name)
            except (Broken, subprocess.CalledProcessError) as exc:
                print(f"{name}: {exc}", file=sys.stderr)
                failed.append(name)
        if made[1:]:
            metrics = [part for name in METRICS for part in ("--metric", name)]
            call([EVAL, "ab", *(args.runs / name for name in made), *metrics, "--out", args.runs / "report"])
    except subprocess.CalledProcessError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 1 if failed else 0


def measure(system: str, args: argparse.Namespace) -> None:
    """A built-in system, on the same users. Raises CalledProcessError."""
    if (args.runs / system / "summary.json").exists():
        return
    users = ["--users", str(args.users)]
    call([EVAL, "run", args.runs / system, "--task", "catalogue", "--system", system, "--data", args.data, *users])


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
