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
from xdrec_agent.rerank.fits import load_fitted
from xdrec_agent.cli import app
for name in ("item", "rerank", "judge", "explain"):
    load_template(name)
load_fitted()
print(retrieval.__file__, eval.__file__, prompts_dir(), sep="\\n")
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
        "eval/report/plot.css",
        "eval/bias_card.html.jinja",
    } <= set(names)
    page = ROOT / "xdrec_agent" / "service" / "page"
    assert {f"xdrec_agent/service/static/{file.name}" for file in page.iterdir()} <= set(names)
    assert "xdrec_agent/service/static/index.html" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_works_beside_an_eval_and_a_prompts_folder(wheel, tmp_path):
    """Imports, templates and the command line come from the installed wheel, not from the working folder."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    for name in ("eval", "prompts"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("raise RuntimeError('not this one')")
    env = {k: v for k, v in os.environ.items() if not k.startswith("XDREC_")} | {"PYTHONPATH": str(site)}

    def python(program):
        command = [sys.executable, "-P", "-c", program]
        return subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, check=False)

    found = python(PROGRAM)
    assert found.returncode == 0, found.stderr
    assert all(line.startswith(str(site)) for line in found.stdout.split())
    (elsewhere / "films.csv").write_text("id,title\na,Alien\n", encoding="utf-8")
    call = "import sys; sys.argv = ['xdrec', *{}]; from xdrec_agent.cli import main; main()"
    ingested = python(call.format(["ingest", "films", "films.csv"]))
    assert ingested.returncode == 0, ingested.stderr
    listed = python(call.format(["domains", "--json"]))
    assert (listed.returncode, json.loads(listed.stdout)[0]["items"]) == (0, 1), listed.stderr
