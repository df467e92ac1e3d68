"""The promise of the wheel: it works where the source is not, beside folders that have the same common names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import retrieval, eval, xdrec_agent
from retrieval.templates import load_template, prompts_dir
from xdrec_agent.rerank import rerank_fits
from xdrec_agent.cli import app
for name in ("item", "rerank", "judge", "explain"):
    load_template(name)
assert rerank_fits()
print(retrieval.__file__, eval.__file__, prompts_dir(), sep="\\n")
"""

FITTING = """
from retrieval.ranking import fusion_fit, save_fusion
from xdrec_agent.rerank import rerank_fits, save_fits
from xdrec_agent.settings import load_settings

fits_dir = load_settings().fits_dir
save_fusion(fusion_fit("minilm-taste").model_copy(update={"picks": 1}), fits_dir)
first = rerank_fits()[0]
save_fits([first.model_copy(update={"users": 1})], fits_dir)
again = [fit for fit in rerank_fits(fits_dir) if fit.key == first.key]
print(fusion_fit("minilm-taste", fits_dir).picks, *(fit.users for fit in again), fusion_fit("minilm-taste").picks > 1)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_and_the_prompts_and_no_tests(wheel):
    """Nothing but the three packages, the prompts as data of retrieval, and the metadata."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"retrieval", "xdrec_agent", "eval"}
    assert "retrieval/prompts/rerank.jinja" in names
    assert {
        "xdrec_agent/rerank/shipped_fits.json",
        "eval/studies/attacks.yaml",
        "eval/report/report.html.jinja",
        "eval/report/charts.css",
    } <= set(names)
    page = ROOT / "xdrec_agent" / "service" / "static"
    assert {f"xdrec_agent/service/static/{file.name}" for file in page.iterdir()} <= set(names)
    assert "xdrec_agent/service/static/index.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """The folder that the wheel is installed into; nobody may write there."""
    site = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    _set_modes(site, 0o555, 0o444)
    yield site
    _set_modes(site, 0o755, 0o644)


def _set_modes(site, folder, file):
    for path in (site, *site.rglob("*")):
        path.chmod(folder if path.is_dir() else file)


@pytest.fixture
def python(site, tmp_path):
    """Runs a program with the wheel in a folder that has an `eval` and a `prompts` of its own."""
    elsewhere = tmp_path / "elsewhere"
    for name in ("eval", "prompts"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise RuntimeError('not this one')")
    env = {k: v for k, v in os.environ.items() if not k.startswith("XDREC_")}
    env |= {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(program):
        command = [sys.executable, "-P", "-c", program]
        return subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, check=False)

    return run


def test_what_is_fitted_goes_into_the_home_and_never_into_the_package(site, python, tmp_path):
    """From a site-packages that is read-only; the home's fits go before the shipped ones of the same key."""

    def contents():
        return {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}

    before = contents()
    fitted = python(FITTING)
    assert (fitted.returncode, fitted.stdout.split()) == (0, ["1", "1", "True"]), fitted.stderr
    assert contents() == before  # also where the tests are run by root, whom no mode keeps out
    home = tmp_path / "elsewhere" / ".xdrec" / "fits"
    assert sorted(path.name for path in home.iterdir()) == ["fusion.json", "rerank.json"]


def test_the_installed_wheel_works_beside_an_eval_and_a_prompts_folder(site, python, tmp_path):
    """Imports, templates and the command line come from the installed wheel, not from the working folder."""
    elsewhere = tmp_path / "elsewhere"
    found = python(PROGRAM)
    assert found.returncode == 0, found.stderr
    assert all(line.startswith(str(site)) for line in found.stdout.split())
    (elsewhere / "films.csv").write_text("id,title\na,Alien\n", encoding="utf-8")
    call = "import sys; sys.argv = ['xdrec', *{}]; from xdrec_agent.cli import main; main()"
    ingested = python(call.format(["ingest", "films", "films.csv"]))
    assert ingested.returncode == 0, ingested.stderr
    listed = python(call.format(["domains", "--json"]))
    assert (listed.returncode, json.loads(listed.stdout)[0]["items"]) == (0, 1), listed.stderr
