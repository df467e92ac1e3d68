"""Promises of the command line that need no model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from retrieval.errors import UnknownTitle, UsageError
from retrieval.ranking import fusion_fit, save_fusion
from xdrec_agent import cli
from xdrec_agent.app import find_pack, load_pack
from xdrec_agent.cli.context import print_error

PACK = Path(__file__).resolve().parents[2] / "examples" / "films-books"


@pytest.fixture
def xdrec(tmp_path, monkeypatch, capsys):
    """Run a command in a home of its own; its exit code, stdout and stderr."""
    monkeypatch.setenv("XDREC_MODELS_DIR", str(tmp_path / "models"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["xdrec", "--home", str(tmp_path / "home"), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(
    "path_and_command", list(commands(typer.main.get_command(cli.app))), ids=lambda pc: " ".join(pc[0])
)
def test_every_command_explains_itself_with_examples(path_and_command):
    """--help says what it does and shows at least one line to copy."""
    path, command = path_and_command
    assert command.help.split("\n")[0].strip()
    assert f"xdrec {' '.join(path)}" in command.help


def test_ingest_reports_and_keeps_bad_rows(xdrec, tmp_path):
    """Good rows go in, bad ones are counted with line and reason and written to a file; exit code 0."""
    file = tmp_path / "films.csv"
    file.write_text("id,title,year\na,Alien,1979\nb,,1980\nc,Cube,soon\n", encoding="utf-8")
    code, out, err = xdrec("ingest", "films", str(file))
    assert code == 0
    assert "1 new" in out
    assert "2 rejected" in out
    assert "line 3" in err
    assert "line 4" in err


def test_strict_ingest_ends_with_the_code_of_bad_data(xdrec, tmp_path):
    """--strict stops at the first bad row with exit code 5."""
    file = tmp_path / "films.csv"
    file.write_text("id,title\na,Alien\nb,\n", encoding="utf-8")
    assert xdrec("ingest", "films", str(file), "--strict")[0] == 5


def test_json_output_is_json_alone(xdrec, tmp_path):
    """stdout holds data only, whatever progress there is."""
    file = tmp_path / "films.csv"
    file.write_text("id,title\na,Alien\n", encoding="utf-8")
    code, out, _ = xdrec("ingest", "films", str(file), "--json")
    assert (code, json.loads(out)["added"]) == (0, 1)
    assert json.loads(xdrec("domains", "--json")[1])[0]["domain"] == "films"


def test_a_missing_setup_names_the_next_command(xdrec, tmp_path):
    """No encoder: exit code 3 and `xdrec models pull`, for people and for programs."""
    file = tmp_path / "films.csv"
    file.write_text("id,title\na,Alien\n", encoding="utf-8")
    xdrec("ingest", "films", str(file))
    code, _, err = xdrec("index")
    assert code == 3
    assert "xdrec models pull minilm-taste" in err
    code, out, _ = xdrec("index", "--json")
    assert code == 3
    assert json.loads(out)["error"]["type"] == "ModelMissing"


def test_doctor_lists_what_is_missing_and_exits_with_3(xdrec):
    """On an empty machine every missing thing comes with its command."""
    code, out, _ = xdrec("doctor", "--json")
    checks = {check["what"]: check for check in json.loads(out)}
    assert code == 3
    assert checks["store"]["next"] == "xdrec ingest DOMAIN FILE"
    assert checks["LLM server"]["next"] == "xdrec llm up"
    assert all(check["next"] for check in checks.values() if check["state"] != "ok")


def test_doctor_says_whose_fits_count(xdrec, tmp_path):
    """The home's own go before the shipped ones; one that cannot be read is a problem with a next command."""

    def check():
        return next(c for c in json.loads(xdrec("doctor", "--json")[1]) if c["what"] == "fits")

    assert (check()["state"], check()["detail"].split(";")[0]) == ("ok", "shipped weights")
    file = save_fusion(fusion_fit("minilm-taste").model_copy(update={"picks": 1}), tmp_path / "home" / "fits")
    assert check()["detail"].startswith("weights of this home;")
    file.write_text("{}")
    assert (check()["state"], check()["next"].count("xdrec-eval fit fusion")) == ("problem", 1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("recommend", "--from", "films", "--to", "books", "--user", "u"), 3),
        (("recommend", "--from", "films", "--to", "books", "--where", "themes", "--user", "u"), 2),
        (("ingest", "films", "nowhere.csv"), 5),
        (("ingest", "films", "x.csv", "--scale", "five"), 2),
        (("users", "export", "nobody"), 2),
        (("demo", "no-such-pack"), 2),
        (("llm", "status"), 3),
        (("models", "remove", "nothing"), 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_errors_have_exit_codes_and_hints(xdrec, arguments, code):
    """2 usage, 3 missing set-up, 5 bad data; always a line and a hint, never a traceback."""
    found, out, err = xdrec(*arguments)
    assert found == code
    assert out == ""
    assert err.startswith("error: ")
    assert "  → " in err


def test_nearest_titles_are_listed(capsys):
    """An unknown title shows what comes close, for people and for programs."""
    error = UnknownTitle("no film 'Aline'", nearest=("Alien (1979)",), hint="…")
    print_error(error, as_json=False)
    print_error(error, as_json=True)
    out, err = capsys.readouterr()
    assert "· Alien (1979)" in err
    assert json.loads(out)["error"]["nearest"] == ["Alien (1979)"]


def test_starting_up_imports_no_heavy_library():
    """`xdrec --help` and the parts of a warm `recommend` load neither torch nor Chroma nor vLLM."""
    program = (
        "import sys, xdrec_agent.cli, xdrec_agent.app.factory, xdrec_agent.recommend;"
        "print(sorted({'torch', 'transformers', 'chromadb', 'vllm', 'sentence_transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_shipped_pack_describes_files_that_exist():
    """demo.yaml names its files and asks in both directions."""
    pack = load_pack(find_pack(str(PACK)))
    for name in (*pack.catalogues.values(), *pack.interactions.values()):
        assert (PACK / name).is_file()
    assert {(ask.source, ask.target) for ask in pack.asks} == {("films", "books"), ("books", "films")}


def test_an_unknown_pack_lists_the_known_ones():
    """The hint names what there is."""
    with pytest.raises(UsageError) as caught:
        find_pack("no-such-pack")
    assert "demo.yaml" in caught.value.hint


def test_the_written_reference_is_that_of_the_commands():
    """docs/reference/cli.md does not drift from the commands."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "cli_reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
