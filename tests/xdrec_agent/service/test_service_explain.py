"""Promises of asking about an answer over HTTP: four kinds of reasons and a picture."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from service_kit import ASK


@pytest.fixture
def answer(http):
    """The id of an answer with four books for Ada."""
    return http.post("/v1/recommend", json=ASK | {"k": 4}).json()["id"]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        ({"kind": "why", "rank": 1}, "supporters"),
        ({"kind": "over", "rank": 1, "other": 4}, "leans"),
        ({"kind": "why-not", "item": "Music books 1"}, "lifts"),
        ({"kind": "why-not", "item": {"domain": "books", "id": "music-1"}}, "lifts"),
        ({"kind": "without", "item": "Space films 1"}, "leaves"),
    ],
)
@pytest.mark.parametrize("language", ["en", "es", "zh"])
def test_every_kind_of_reason_is_told_in_each_language(http, answer, ask, field, language):
    """A text in the language, and what bears it out as data."""
    reply = http.post("/v1/explain", json={"answer": answer, "language": language} | ask)
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert field in told
    assert told["language"] == language
    assert any("\u4e00" <= char <= "\u9fff" for char in told["text"]) == (language == "zh")


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        ({"kind": "why", "rank": 9}, 400),
        ({"kind": "why"}, 422),
        ({"kind": "over", "rank": 1}, 422),
        ({"kind": "over", "rank": 1, "other": 1}, 400),
        ({"kind": "why-not", "item": "Nothing of the sort"}, 404),
        ({"kind": "without", "item": "Nothing of the sort"}, 404),
    ],
)
def test_questions_that_make_no_sense_are_refused(http, answer, ask, status):
    """A rank that is not there, half a question, a title that nobody has."""
    assert http.post("/v1/explain", json={"answer": answer} | ask).status_code == status


def test_the_evidence_is_a_picture(http, answer):
    """Well-formed SVG, with a policy under which nothing in it can run."""
    reply = http.get(f"/v1/answers/{answer}/picture/1.svg")
    assert reply.headers["content-type"].startswith("image/svg+xml")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    text = "".join(ElementTree.fromstring(reply.text).itertext())  # noqa: S314 (made by the service itself)
    assert "Space films 1" in text
    assert http.get(f"/v1/answers/{answer}/picture/9.svg").status_code == 400
    assert http.get("/v1/answers/nobodys/picture/1.svg").status_code == 404
