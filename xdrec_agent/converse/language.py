"""What is known of each language. Reads prompts/LANG/nlu.yaml, produces the checked grammar that the rules run on.

A language is a folder under prompts/ with a chat.yaml (what is said) and an nlu.yaml (what is understood). Of the
languages that share a script one is chosen for a turn, by its words; one of each script reads it, since people mix
English titles and Chinese sentences. Their grammars are joined: the patterns of one thing become alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, model_validator

from retrieval.errors import UsageError
from retrieval.templates import prompts_dir, read_yaml
from xdrec_agent.converse.grammar import (
    MACRO,
    MENTION,
    Grammar,
    Numbers,
    Rule,
    Section,
    Template,
    Writing,
    longest_first,
)

DEFAULT_LANGUAGE: Final = "en"
_FILLED_LATER: Final = frozenset({"noun", "language", "slot"})
T = TypeVar("T", bound=BaseModel)


@cache
def chat_languages() -> tuple[str, ...]:
    """The languages of the conversation, by folder: those that have both files."""
    folders = (path.parent for path in prompts_dir().glob("*/nlu.yaml"))
    return tuple(sorted(folder.name for folder in folders if (folder / "chat.yaml").is_file()))


def known_language(language: str) -> str:
    """The language itself. Raises UsageError if it has no folder."""
    if language not in chat_languages():
        raise UsageError(f"no language {language!r}", hint=f"one of: {', '.join(chat_languages())}")
    return language


def _valid_language(language: str) -> str:
    if language not in chat_languages():
        raise ValueError(f"no language {language!r}")
    return language


Language = Annotated[str, AfterValidator(_valid_language)]
"""The folder's name of a language that is understood and that replies are written in, mostly its ISO 639-1 code."""


class LanguageFile(Section):
    """One nlu.yaml."""

    writing: Writing
    grammar: Grammar

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, data: dict[str, Any]) -> dict[str, object]:
        numbers, names = data.get("numbers", {}), data.get("categories", {}).get("names", {})
        tables = {
            "mention": [MENTION],
            "cardinal": numbers.get("cardinals", {}),
            "ordinal": numbers.get("ordinals", {}),
            "category": [name for words in names.values() for name in words],
        }
        macros = {name: "|".join(longest_first(words)) for name, words in tables.items()}
        for name, pattern in data.get("macros", {}).items():
            macros[name] = str(_expanded(pattern, macros))
        rest = {key: _expanded(value, macros) for key, value in data.items() if key != "macros"}
        return {"writing": rest.pop("writing", None), "grammar": rest}


def _expanded(node: object, macros: Mapping[str, str]) -> object:
    """The YAML with macros replaced in its texts and word lists made patterns. Raises ValueError: no such macro."""
    if isinstance(node, dict) and node.keys() == {"words"}:
        words = "|".join(word.strip() for word in node["words"].split(","))
        return rf"\b(?:{words})\b"
    if isinstance(node, dict):
        return {key: _expanded(value, macros) for key, value in node.items()}
    if isinstance(node, list):
        return [_expanded(value, macros) for value in node]
    return MACRO.sub(lambda found: _replaced(found, macros), node) if isinstance(node, str) else node


def _replaced(found: re.Match[str], macros: Mapping[str, str]) -> str:
    if found[1] in _FILLED_LATER:
        return found[0]
    if found[1] not in macros:
        raise ValueError(f"no macro {found[0]}")
    return f"(?:{macros[found[1]]})"


@cache
def _file(language: str) -> LanguageFile:
    return read_yaml(prompts_dir() / language / "nlu.yaml", LanguageFile)


@cache
def grammar_of(spoken: tuple[str, ...]) -> Grammar:
    """The joined grammar of these languages. Raises TemplateError: an nlu.yaml is not what it should be."""
    return reduce(_joined, (_file(language).grammar for language in spoken))


def _joined(one: T, other: T) -> T:
    # Made anew: a copy would keep what the one grammar has computed and cached of its own words.
    return type(one).model_construct(**{n: _join(getattr(one, n), getattr(other, n)) for n in type(one).model_fields})


def _join(one: Any, other: Any) -> Any:  # noqa: ANN401 (two values of one field, whatever it is)
    if isinstance(one, BaseModel):
        return _joined(one, other)
    if isinstance(one, dict):
        return one | other | {key: _join(one[key], other[key]) for key in one.keys() & other.keys()}
    if isinstance(one, frozenset):
        return one | other
    return one + other if isinstance(one, Rule | Template | tuple) else one


@cache
def all_languages() -> Grammar:
    """The grammar of all languages, for what has no language: a catalogue's titles, a domain's name."""
    return grammar_of(chat_languages())


@cache
def _scripts() -> Mapping[str, tuple[str, ...]]:
    """Script → its languages."""
    scripts: dict[str, tuple[str, ...]] = {}
    for language in chat_languages():
        script = _file(language).writing.script
        scripts[script] = (*scripts.get(script, ()), language)
    return scripts


def languages_of(text: str, current: str) -> tuple[str, ...]:
    """The language of each script that a text is read in; where its words do not tell, the `current` or default one."""

    def likelihood(language: str) -> tuple[int, bool, bool]:
        words = {match[0].casefold() for match in _file(language).writing.evidence.finditer(text)}
        return len(words), language == current, language == DEFAULT_LANGUAGE

    return tuple(sorted(max(group, key=likelihood) for group in _scripts().values()))


def written_in(text: str, spoken: Sequence[str]) -> str | None:
    """The language that a masked text is written in, scripts without spaces first; None: too little of it to tell."""
    files = sorted(((language, _file(language).writing) for language in spoken), key=lambda pair: not pair[1].letters)
    return next((language for language, writing in files if writing.text.search(text)), None)


@cache
def unspaced_letters() -> str:
    """A pattern of one letter of a script that puts no spaces between words."""
    ranges = "".join(_file(language).writing.letters for language in chat_languages())
    return f"[{ranges}]" if ranges else "(?!)"


@cache
def _unspaced() -> Callable[[str], re.Match[str] | None]:
    return re.compile(unspaced_letters()).search


def is_unspaced(text: str) -> bool:
    """Whether a text has letters of a script that puts no spaces between words."""
    return _unspaced()(text) is not None


@cache
def spaced_numbers() -> Numbers:
    """The number words of the languages that put spaces between words."""
    spaced = tuple(language for language in chat_languages() if not _file(language).writing.letters)
    return grammar_of(spaced).numbers
