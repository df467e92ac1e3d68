"""Promises about starting, stopping and failing of the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from little_encoder import save_encoder
from model_fakes import closed_port
from typer.testing import CliRunner

from xdrec_agent import cli

MAIN = "import sys; sys.argv[0] = 'xdrec'; from xdrec_agent.cli import main; main()"


def loaded(*arguments):
    """The modules that a command has loaded when it ends."""
    program = (
        "import sys; from xdrec_agent.cli import app;"
        f"app({list(arguments)!r}, standalone_mode=False); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    """A home with films, books and a user, indexed by a little encoder."""
    save_encoder(tmp_path / "models" / "minilm-taste", ("space", "love"))
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDREC_DEVICE", "cpu")
    rows = "id,title,description\na,A,space\nb,B,love\n"
    for domain, text in (("films", rows), ("books", rows), ("films", "user,item,rating\nada,a,5\n")):
        (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
        done = CliRunner().invoke(cli.app, ["--home", str(tmp_path), "ingest", domain, str(tmp_path / "rows.csv")])
        assert done.exit_code == 0
    assert CliRunner().invoke(cli.app, ["--home", str(tmp_path), "index"]).exit_code == 0
    return tmp_path


def test_a_recommendation_without_reasons_loads_nothing_for_nothing(indexed):
    """Neither models nor what tables, statistics, conversations or the service need: it would take seconds."""
    modules = loaded(
        *("--home", str(indexed), "recommend", "--from", "films", "--to", "books", "--user", "ada", "--no-explain")
    )
    heavy = {"torch", "transformers", "sentence_transformers", "onnxruntime", "chromadb", "faiss", "vllm", "ray"}
    heavy |= {
        "sklearn",
        "scipy.stats",
        "openai",
        "huggingface_hub",
        "fastapi",
        "pandas",
        "tenacity",
        "httpx2",
        "diskcache",
    }
    ours = {"retrieval.ingest", "retrieval.adapt"}
    ours |= {f"xdrec_agent.{room}" for room in ("converse", "posthoc", "enrich", "service", "batch", "adapt")}
    assert "xdrec_agent.recommend" in modules
    assert sorted(modules & (heavy | ours)) == []


def test_a_command_loads_no_other_and_no_heavy_library():
    """`--version` loads no command, `recommend --help` only its own, and neither what recommending needs."""
    assert not any(name.startswith("xdrec_agent.cli.ingest") for name in loaded("--version"))
    modules = loaded("recommend", "--help")
    assert "xdrec_agent.cli.recommend" in modules
    heavy = {"torch", "transformers", "sentence_transformers", "chromadb", "vllm", "openai", "numpy", "sqlalchemy"}
    assert not modules & {*heavy, "xdrec_agent.cli.ingest", "xdrec_agent.cli.llm", "pydantic_settings"}


def test_help_loads_no_library_of_the_commands():
    """It imports every command, but nothing that they work with."""
    modules = loaded("--help")
    assert "xdrec_agent.cli.explain" in modules
    assert sorted(modules & {"pydantic", "jinja2", "yaml", "numpy", "asyncio", "retrieval.templates"}) == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_can_be_built(name):
    """A wrong entry of the table would only show when somebody calls it."""
    done = CliRunner().invoke(cli.app, [name, "--help"])
    assert done.exit_code == 0
    assert f" {name} " in done.stdout.split("\n")[1]


def test_a_mistyped_command_is_answered_with_the_nearest():
    """Exit code 2 and a proposal."""
    done = CliRunner().invoke(cli.app, ["recomend"])
    assert done.exit_code == 2
    assert "'recommend'" in done.stderr


def test_an_interrupted_command_ends_with_130_and_a_line(tmp_path):
    """Ctrl-C in the middle of a command: no traceback."""
    pipe = tmp_path / "films.csv"
    os.mkfifo(pipe)
    # What a shell starts in the background ignores the signal, and so do its children.
    program = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
    command = [sys.executable, "-c", program, "--home", str(tmp_path / "home"), "ingest", "films", str(pipe)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        pipe.open("w", encoding="utf-8"),  # waits until the command reads
    ):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "stopped\n")


def test_a_defect_is_not_hidden(tmp_path):
    """What nobody foresaw ends with a traceback and exit code 1, not with a polite line."""
    program = f"from xdrec_agent import cli; cli.COMMANDS['domains'] = 'no_such_module:x'; {MAIN}"
    done = subprocess.run([sys.executable, "-c", program, "domains"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ModuleNotFoundError" in done.stderr


def test_up_asks_a_configured_endpoint_and_starts_nothing(tmp_path, monkeypatch):
    """One that does not answer is the LLM's failure (4), for people and, of status, for programs."""
    monkeypatch.setenv("XDREC_LLM__BASE_URL", f"{closed_port()}/v1")
    monkeypatch.setenv("XDREC_LLM__ATTEMPTS", "1")
    up = CliRunner().invoke(cli.app, ["--home", str(tmp_path), "llm", "up"])
    assert up.exit_code == 4
    assert "nothing is started" in up.stdout
    status = CliRunner().invoke(cli.app, ["--home", str(tmp_path), "llm", "status", "--json"])
    assert status.exit_code == 4
    assert json.loads(status.stdout)["error"]["type"] == "LLMUnreachable"
    checks = json.loads(CliRunner().invoke(cli.app, ["--home", str(tmp_path), "doctor", "--json"]).stdout)
    assert next(check["state"] for check in checks if check["what"] == "LLM server") == "problem"


def test_logs_of_a_server_that_never_was_name_the_next_command(tmp_path):
    """Nothing to show is not silence."""
    done = CliRunner().invoke(cli.app, ["--home", str(tmp_path), "llm", "logs"])
    assert done.exit_code == 3
    assert "xdrec llm up" in done.stderr
