"""Promises of the grounding check, on sentences that were labelled by hand and on corrupted evidence."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from claim_set import evidence_of, labelled

from retrieval.templates import languages
from retrieval.types import Path, Relation
from xdrec_agent.explain import load_locale
from xdrec_agent.grounding import Evidence, Scope, check, sentences

WORLDS = sorted({one.world for one in labelled()})


def objections(text, evidence, language):
    return [claim for claim in check(text, Scope(evidence, language)) if not claim.supported]


def test_the_set_is_large_and_has_both_languages_and_every_way_to_be_wrong():
    """At least 180 sentences, about half wrong, a third held out, every kind of claim wrong in both languages."""
    assert len(labelled()) >= 180
    for language in ("en", "zh"):
        of = [one for one in labelled() if one.language == language]
        assert len(of) >= 90
        assert 0.4 <= sum(one.wrong is not None for one in of) / len(of) <= 0.6
        assert 0.3 <= sum(one.held_out for one in of) / len(of) <= 0.36
        kinds = {"title", "person", "year", "number", "category", "relation", "statement"}
        assert {one.wrong for one in of if one.wrong} == kinds


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("held_out", [False, True])
def test_unsupported_sentences_are_found(language, held_out):
    """Precision and recall of finding them are at least .95 on what the check was tuned on, and on what it was not."""
    of = [one for one in labelled() if (one.language, one.held_out) == (language, held_out)]
    found = {one for one in of if objections(one.text, evidence_of(one.world), language)}
    wrong = {one for one in of if one.wrong}
    missed, alarms = wrong - found, found - wrong
    assert len(wrong & found) / len(found) >= 0.95, [one.text for one in alarms]
    assert len(wrong & found) / len(wrong) >= 0.95, [one.text for one in missed]


SLIPS = [
    ("Because you liked the dystopia and science fiction of Blade Runner, you may like it.", "what was liked about it"),
    ("Because you liked the science fiction in Alien, you may like it.", "what was liked about it"),
    ("You liked the film “Blade Runner” because it shares dystopia with it.", "why something was liked"),
    ("The person liked Blade Runner, and this is science fiction too.", "nothing in the evidence"),
    ("Blade Runner is closest to it, so I like it.", "nothing in the evidence"),
    ("Do Androids Dream of Electric Sheep? is a science fiction film like Blade Runner.", "none of the films"),
    ("It is science fiction like Alien. Of what you liked, Aliens is closest to it.", "figures do not say so"),
    ("It is science fiction, and Alien is close to Aliens.", "figures do not say so"),
]
"""Of the kinds that labellers found in what a model of 1.5 billion parameters wrote and the check let pass."""


@pytest.mark.parametrize(("text", "why"), SLIPS)
def test_what_a_labeller_once_found_is_found(text, why):
    """Motives nobody told, third persons, a book that is called a film, and closeness that the figures do not show."""
    assert any(why in claim.support for claim in objections(text, evidence_of("androids"), "en")), text


CLEAN = [
    "You liked the 1979 science fiction film Alien, which has the same genre.",
    "Because you liked “Blade Runner” and “Alien”, you may like it for its science fiction, which both have.",
    "You liked Blade Runner, a 1982 film. It is a science fiction novel that is close to Blade Runner.",
    "Of what you liked, Alien is closest to it.",
]


@pytest.mark.parametrize("text", CLEAN)
def test_what_looks_like_those_slips_and_is_true_passes(text):
    """A reason for the recommendation, the right noun, the closest item."""
    assert objections(text, evidence_of("androids"), "en") == []


# Mutation: true sentences, made from intact evidence, against evidence in which one thing was changed.


def truths(evidence, language):
    """Sentences that are true by construction, each with the item that it speaks of."""
    locale = replace(load_locale(language, "short"), show=lambda text, limit: str(text))
    for item in evidence.items:
        title = locale.quoted(item)
        said = {
            "en": (f"{title} is by {item.creators[0]}.", f"{title} is from {item.year}."),
            "zh": (f"{title}出自{item.creators[0]}。", f"{title}是{item.year}年的作品。"),
            "es": (f"{title} es obra de {item.creators[0]}.", f"{title} es de {item.year}."),
        }[language]
        yield from ((kind, item, text) for kind, text in zip(("creators", "year"), said, strict=True))
        yield "title", item, title + {"en": " is a story.", "zh": "是作品。", "es": " es una historia."}[language]
    for path in evidence.paths[:1]:
        for relation in path.relations:
            one = Path(start=path.start, end=path.end, relations=(relation,))
            end = "。" if language == "zh" else "."
            yield "direction", relation, locale.chain(one, evidence) + end


def corrupted(evidence: Evidence, kind, about, rng) -> Evidence:
    """The evidence with one thing changed that the sentence says."""
    if kind == "direction":
        turned = Relation(subject=about.object, predicate=about.predicate, object=about.subject)
        facts = tuple(
            replace(
                f,
                path=f.path.model_copy(
                    update={"relations": tuple(turned if r == about else r for r in f.path.relations)}
                ),
            )
            if f.path
            else f
            for f in evidence.facts
        )
        return replace(evidence, facts=facts)
    others = [item for item in evidence.items if item != about]
    change = {
        "creators": {
            "creators": (
                rng.choice(
                    ["Nobody Else", *(o.creators[0] for o in others if not set(o.creators) & set(about.creators))]
                ),
            )
        },
        "year": {"year": about.year + rng.choice([-30, -1, 1, 12])},
        "title": {"title": "Something Else", "aliases": ()},
    }[kind]
    item = about.model_copy(update=change)
    known = tuple(replace(k, item=item) if k.item == about else k for k in evidence.known)
    return replace(evidence, item=item if evidence.item == about else evidence.item, known=known)


def still_true(kind, about, spoilt):
    """Something else has the title, or the volumes of a series say what the relation said."""
    if kind == "title":
        ends = [e for path in spoilt.paths for r in path.relations for e in (r.subject, r.object)]
        keys = {(e.domain, e.id) for e in ends if e.name == about.title} - {(about.domain, about.id)}
        return bool(keys) or any(i.title == about.title for i in spoilt.items)
    ids = {i.id for i in spoilt.items}
    return kind == "direction" and about.predicate == "sequel_of" and {about.subject.id, about.object.id} <= ids


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize("world", WORLDS)
def test_corrupted_evidence_is_noticed(world, language):
    """Swap a creator, shift a year, rename an item or turn a relation: what was true is then objected to."""
    evidence, rng = evidence_of(world), random.Random(world)
    for kind, about, text in truths(evidence, language):
        assert objections(text, evidence, language) == [], text
        for _ in range(3):
            spoilt = corrupted(evidence, kind, about, rng)
            if not still_true(kind, about, spoilt):
                assert objections(text, spoilt, language), (kind, text)


# Details


def test_marks_inside_titles_and_initials_end_no_sentence():
    """“Do Androids Dream of Electric Sheep?” and “Philip K. Dick” stand in the middle of sentences."""
    evidence = evidence_of("androids")
    text = "Philip K. Dick wrote Do Androids Dream of Electric Sheep? in 1968. You liked Alien."
    assert len(sentences(text, Scope(evidence, "en"))) == 2
    assert len(sentences("《仿生人会梦见电子羊吗？》是小说。你喜欢《异形》。", Scope(evidence, "zh"))) == 2


def test_each_claim_says_what_it_is_about_and_in_which_sentence():
    """A claim can be shown beside the words that it stands on."""
    claims = check("You liked Alien. It is by Ridley Scott.", Scope(evidence_of("androids"), "en"))
    (wrong,) = (c for c in claims if not c.supported)
    assert (wrong.kind, wrong.text, wrong.sentence) == ("person", "Ridley Scott", 1)
    assert wrong.subject == "Do Androids Dream of Electric Sheep?"


@pytest.mark.parametrize("text", ["", "  ", "?!", "。", "\u0000", "(((", "《", "'" * 50, "a" * 5000, "《" * 500])
@pytest.mark.parametrize("language", languages())
def test_odd_texts_are_no_failure(text, language):
    """Whatever a model writes gets claims, or none."""
    assert isinstance(check(text, Scope(evidence_of("solaris"), language)), tuple)
