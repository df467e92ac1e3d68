"""Promises of demo packs as `xdrec demo` takes them: found by name, read whole, never without their rules."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from retrieval.errors import DataError, TemplateError, UsageError
from retrieval.settings import ExclusionSettings
from xdrec_agent.app import find_pack, load_pack
from xdrec_agent.cli import app
from xdrec_agent.explain import load_locale, load_own_sentences
from xdrec_agent.settings import Settings

NAMES = ["conditions-wellness", "courses-projects", "films-books", "funds-insurance", "kitchen-groceries"]
PACK = "catalogues: {a: a.csv, b: b.csv}\nasks: [{from: a, to: b, user: kim}]\n"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", NAMES)
def test_a_pack_of_the_checkout_is_found_from_anywhere(name):
    """By its short name, whatever the working folder."""
    assert find_pack(name).name == name
    assert load_pack(find_pack(name)).asks


def test_ones_own_pack_comes_first(elsewhere):
    """A path, then examples/ of the working folder, then the checkout's."""
    mine = elsewhere / "examples" / "films-books"
    mine.mkdir(parents=True)
    (mine / "demo.yaml").write_text(PACK, encoding="utf-8")
    assert load_pack(find_pack("films-books")).asks[0].user == "kim"
    assert load_pack(find_pack(str(mine))).asks[0].user == "kim"


@pytest.mark.usefixtures("elsewhere")
def test_an_unknown_pack_names_those_that_are_there():
    """Exit code 2 and the names."""
    with pytest.raises(UsageError, match="no demo pack 'films'") as caught:
        find_pack("films")
    assert all(name in caught.value.hint for name in NAMES)
    done = CliRunner().invoke(app, ["demo", "films"])
    assert done.exit_code == 2
    assert "kitchen-groceries" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "asks: [",
        "asks: []\n",
        PACK + "exclusion: []\n",
        PACK + "exclusions: [{target: b, source: a}]\n",
        PACK + "exclusions: [{target: b, source: a, attribute: x, when: never}]\n",
        PACK + "disclaimers: no advice\n",
    ],
)
def test_a_pack_that_is_not_what_it_should_be_is_refused(elsewhere, text):
    """A misspelt rule must not be a rule that is missing."""
    (elsewhere / "demo.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"demo\.yaml"):
        load_pack(elsewhere)


def test_a_packs_settings_add_to_the_configured_ones(elsewhere):
    """Rules and disclaimers of one's own stay; templates are the pack's files."""
    (elsewhere / "demo.yaml").write_text(
        PACK
        + "templates: {item: item.jinja, explain: why.jinja}\n"
        + "disclaimers: {b: Ask somebody.}\n"
        + "exclusions: [{target: b, source: a, attribute: bad_for}]\n",
        encoding="utf-8",
    )
    own = ExclusionSettings(target="b", source="c", attribute="requires", when="lacks")
    base = Settings()
    base = base.model_copy(
        update={"exclusions": (own,), "explain": base.explain.model_copy(update={"disclaimers": {"a": "Mine."}})}
    )
    used = load_pack(elsewhere).settings(base, elsewhere)
    assert used.exclusions == (own, ExclusionSettings(target="b", source="a", attribute="bad_for", when="has"))
    assert used.explain.disclaimers == {"a": "Mine.", "b": "Ask somebody."}
    assert used.index.template == str(elsewhere / "item.jinja")
    assert used.explain.template == str(elsewhere / "why.jinja")
    assert used.retriever == base.retriever


def test_a_pack_without_settings_changes_none(elsewhere):
    """The configured settings are the result."""
    (elsewhere / "demo.yaml").write_text(PACK, encoding="utf-8")
    assert load_pack(elsewhere).settings(Settings(), elsewhere) == Settings()


@pytest.mark.parametrize("option", ["--where", "--not-where"])
def test_a_filter_that_is_no_pair_is_refused(option):
    """Exit code 2, and the option that was meant."""
    done = CliRunner().invoke(app, ["recommend", "--from", "a", "--to", "b", "--like", "x", option, "nuts"])
    assert done.exit_code == 2
    assert f"{option} 'nuts' is not NAME=VALUE" in done.stderr


def test_own_sentences_replace_some_and_may_not_be_misspelt(elsewhere):
    """What a file of sentences does not name stays as the language has it; an unknown name is an error."""
    locale = load_locale("en", "short")
    file = elsewhere / "own.yaml"
    file.write_text('constrained: {text: "{item} may suit you."}\n', encoding="utf-8")
    said = locale.reworded(load_own_sentences(file)).sentences
    assert said.constrained["text"] == "{item} may suit you."
    assert said.constrained["nearest"] == locale.sentences.constrained["nearest"]
    assert said.fallback == locale.sentences.fallback
    for wrong, what in (("constrained: {txt: x}", "txt"), ('fallback: {text: "{itm}"}', "has no {itm}")):
        bad = elsewhere / f"{what[:3]}.yaml"
        bad.write_text(wrong, encoding="utf-8")
        with pytest.raises(TemplateError, match=what):
            load_own_sentences(bad)
