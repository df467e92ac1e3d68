"""The turns in teaching/: every line keeps to the page that their writers were given."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "teaching" / "turns"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
MARK = re.compile(r"\[\[([^\[\]|]+)\|([a-z]+)\|([a-z]+)\]\]")
KEYS = {"dialogue", "turn", "lang", "from", "to", "shown", "asked", "marked", "acts"}


def section(name):
    return PAGE.partition(f"### {name}\n")[2].partition("\n### ")[0]


TYPES = set(re.findall(r"^\| ([a-z]+) \|", section("Types of spans"), re.MULTILINE)) - {"type"}
ROLES = set(re.findall(r"`([a-z]+)`", section("Roles")))
ACTS = set(re.findall(r"`([a-z_]+)`", section("Acts")))
FILES = sorted(FOLDER.glob("*.jsonl"))


def turns(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_turn_is_marked_as_the_page_says(file):
    """Keys, language, acts, and spans with a type and a role that the page knows; nothing nested, nothing twice."""
    for turn in turns(file):
        assert set(turn) == KEYS
        assert turn["dialogue"].startswith(f"{file.stem}-")
        assert turn["lang"] in {"en", "zh", "mixed"}
        assert turn["acts"]
        assert set(turn["acts"]) <= ACTS
        spans = MARK.findall(turn["marked"])
        assert not re.search(r"\[\[|\]\]", MARK.sub("", turn["marked"]))
        assert {kind for _, kind, _ in spans} <= TYPES
        assert {role for _, _, role in spans} <= ROLES


def test_no_message_stands_twice():
    """Writers are told apart by what they wrote: a message of more than three words is one writer's."""
    texts = Counter(turn["marked"] for file in FILES for turn in turns(file))
    assert not [text for text, count in texts.items() if count > 1 and len(text.split()) > 3]
