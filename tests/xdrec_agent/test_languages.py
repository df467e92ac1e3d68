"""Promises of languages: each is a folder of data, in which reasons are told and checked; another needs no code."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml
from claim_set import evidence_of

from retrieval import templates
from retrieval.errors import TemplateError, UsageError
from retrieval.templates import languages, prompts_dir
from xdrec_agent.explain import load_locale, plain_explanation
from xdrec_agent.explain.constrained_output import reply_schema
from xdrec_agent.grounding import Scope, check, foreign, load_rules
from xdrec_agent.posthoc import load_posthoc_locale

WORLDS = ("androids", "forest", "picnic", "solaris")


def objections(text, language, world="androids"):
    return [claim for claim in check(text, Scope(evidence_of(world), language)) if not claim.supported]


RIGHT = """
Ya que te gustó «Blade Runner», quizá te guste «Do Androids Dream of Electric Sheep?» por su inteligencia artificial.
«Blade Runner», que te gustó, se basa en esta obra.
Fue escrita por Philip K. Dick y se publicó en 1968.
Como «Blade Runner», es ciencia ficción.
«Alien», dirigida por Ridley Scott, es ciencia ficción, y este libro también.
Comparte inteligencia artificial y distopía con «Blade Runner».
Te gustaron dos películas de Ridley Scott, «Alien» y «Blade Runner», y esta historia también es ciencia ficción.
Harrison Ford aparece en «Blade Runner», que se basa en este libro.
«Blade Runner» (1982) y «Alien» (1979) son de ciencia ficción, igual que esta novela.
La novela de Philip K. Dick inspiró «Blade Runner».
De lo que te gustó, «Alien» es lo más parecido.
Te gustó la película de terror «Alien», de 1979.
Disfrutaste de «Aliens», la continuación de «Alien»; esta novela también es ciencia ficción.
«Alien» es de los años setenta.
""".strip().splitlines()

WRONG = """
«Do Androids Dream of Electric Sheep?» se basa en «Blade Runner».
Fue escrita por Philip K. Dick y se publicó en 1982.
Fue escrita por Arthur C. Clarke.
«Blade Runner», dirigida por James Cameron, comparte su ciencia ficción.
Te gustó «Aliens», dirigida por Ridley Scott.
Como «Alien», es una historia de terror.
Comparte inteligencia artificial con «Alien».
Sigourney Weaver aparece en «Blade Runner».
Es el conmovedor relato de un robot solitario.
Te encantó «Predator», así que puede que te guste este libro.
Es un romance sobre inteligencia artificial.
«Alien» (1982) se parece a esta obra.
«Blade Runner» inspiró la novela.
«Alien» se basa en este libro.
Te gustó la ciencia ficción de «Alien».
Te gustó «Alien» porque es terror.
«Blade Runner» es una novela.
«Alien» es de los años ochenta.
""".strip().splitlines()


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_true_in_spanish_is_supported(text):
    """Roles, relations, years, traits and what was liked, as Spanish says them; and it is Spanish."""
    assert objections(text, "es") == []
    assert foreign(text, Scope(evidence_of("androids"), "es")) is None


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_in_spanish_is_found(text):
    """Every kind of claim that the evidence does not bear out."""
    assert objections(text, "es"), text


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("language", languages())
def test_reasons_in_every_language_are_borne_out_and_in_it(language, world):
    """The plain reason and every fact, of all kinds that the hand-made worlds have."""
    evidence, locale = evidence_of(world), load_locale(language, "short")
    said = [plain_explanation(evidence, "r", locale).text, *(line.text for line in locale.facts(evidence))]
    for text in said:
        assert objections(text, language, world) == [], text
    assert foreign(said[0], Scope(evidence, language)) is None


def test_spanish_sentences_join_as_spanish_does():
    """ "y" becomes "e" before an i, not before "hie"."""
    locale = load_locale("es", "short")
    assert locale.joined(["cine", "arte", "infancia"]) == "cine, arte e infancia"
    assert locale.joined(["fuego", "hielo"]) == "fuego y hielo"
    assert locale.joined(["uno", "«Ida»"]) == "uno e «Ida»"


# A further language: English with an "u" behind every word.


def turned(value):
    """All words of a text, a list or a mapping with an "u" behind, but not what stands in braces."""
    if isinstance(value, str):
        return re.sub(r"[A-Za-z]+(?![^{]*})", lambda word: f"{word[0]}u", value)
    if isinstance(value, list):
        return [turned(one) for one in value]
    return {key: turned(one) for key, one in value.items()}


@pytest.fixture
def prompts(tmp_path, monkeypatch):
    """The prompts with the folder "uu"."""
    root = tmp_path / "prompts"
    shutil.copytree(prompts_dir(), root)
    shutil.copytree(root / "en", root / "uu")
    monkeypatch.setattr(templates, "prompts_dir", lambda: root)
    for name in ("sentences", "posthoc"):
        change(root, name, turned)
    change(root, "grounding", turned_rules)
    return root


def change(root, name, how):
    file = root / "uu" / f"{name}.yaml"
    data = how(yaml.safe_load(file.read_text(encoding="utf-8")))
    file.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")


def turned_rules(rules):
    for name in ("phrases", "nouns", "neutral", "copulas", "same", "volume_nouns"):
        rules[name] = turned(rules[name])
    for role in rules["roles"]:
        role |= {place: turned(role[place]) for place in ("before", "after")}
    for relation in rules["relations"]:
        relation["say"] = turned(relation["say"])
    rules["terms"] = {"science fiction": ["fictiu"], "artificial intelligence": ["thinkingu machinesu"]}
    rules["patterns"] = [
        {"kind": "decade", "find": r"((?:1\d|20)\d0)su\b"},
        {"kind": "year", "find": r"(1\d{3}|20\d{2})(?!\d)"},
        {"kind": "number", "find": r"(\d+)"},
    ]
    return rules


@pytest.fixture(autouse=True)
def _fresh_rules():
    yield
    for cached in (load_rules, load_locale, load_posthoc_locale):
        cached.cache_clear()


@pytest.mark.usefixtures("prompts")
@pytest.mark.parametrize("world", WORLDS)
def test_a_language_is_a_folder_and_no_code(world):
    """Reasons are told, constrained and checked in a language that nobody has written code for."""
    assert "uu" in languages()
    evidence, locale = evidence_of(world), load_locale("uu", "detailed")
    plain = plain_explanation(evidence, "r", locale)
    said = [plain.text, *(line.text for line in locale.facts(evidence))]
    assert all(objections(text, "uu", world) == [] for text in said), said
    assert "likedu" in reply_schema(evidence, locale).model_json_schema()["properties"]["text"]["pattern"]
    assert load_posthoc_locale("uu").place(2) == "placeu 2"


@pytest.mark.usefixtures("prompts")
def test_the_check_knows_a_further_language_by_its_data_alone():
    """What is true in its words is supported, what is wrong is found, and English is not understood."""
    assert objections("Blade Runner isu basedu onu itu. Aliensu Alien isu fictiu fromu 1979.", "uu") != []
    assert objections("Blade Runner isu basedu onu itu. Alien isu fictiu fromu theu 1970su.", "uu") == []
    assert objections("Alien isu basedu onu itu.", "uu")
    assert objections("Itu wasu writtenu byu Ridley Scott.", "uu")
    assert objections("Blade Runner is based on it.", "uu")


@pytest.mark.parametrize(
    ("name", "how", "problem"),
    [
        ("grounding", lambda d: d | {"patterns": [{"kind": "year", "find": "(1"}]}, "no regular expression"),
        ("grounding", lambda d: d | {"patterns": [{"kind": "year", "find": "1"}]}, "no group"),
        ("grounding", lambda d: d | {"phrases": {"pronouns": ["it"]}}, "phrases.pronouns"),
        ("grounding", lambda d: {k: v for k, v in d.items() if k != "script"}, "script"),
        ("sentences", lambda d: {k: v for k, v in d.items() if k != "decade"}, "decade"),
        ("sentences", lambda d: d | {"facts": {k: v for k, v in d["facts"].items() if k != "series"}}, "facts.series"),
        ("sentences", lambda d: d | {"decade": "{decade}s"}, "decade has no {decade}"),
        ("sentences", lambda d: d | {"decade": "{year"}, "decade is no format"),
        ("posthoc", lambda d: d | {"place": "{place}"}, "place has no {place}"),
        ("posthoc", lambda d: d | {"why_not": {}}, "why_not.listed is missing"),
    ],
)
def test_what_is_wrong_with_a_language_is_told_when_it_is_loaded(prompts, name, how, problem):
    """The error names the file and the place in it."""
    change(prompts, name, how)
    with pytest.raises(TemplateError, match=re.escape(problem)) as caught:
        load_posthoc_locale("uu")
    assert f"{name}.yaml" in str(caught.value)


@pytest.mark.usefixtures("prompts")
def test_an_unknown_language_names_the_known_ones():
    """A folder that was added is among them."""
    with pytest.raises(UsageError) as caught:
        load_locale("xx", "short")
    assert {"en", "es", "uu", "zh"} <= set(re.findall(r"\w+", caught.value.hint))
