"""Prompt and item templates as validated data. Reads prompts/*.jinja, produces rendered text or chat messages.

A template is a Jinja file with front matter:

    ---
    task: rerank
    variables: [history, candidates]
    ---
    {% block system %}…{% endblock %}
    {% block user %}…{% endblock %}

Without blocks it renders to text; with blocks (system, user, assistant) to chat messages in that order. Templates are
strict and sandboxed. All text of catalogues and users goes through the filter `plain`, so that it stays data.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from jinja2 import StrictUndefined, Template, meta
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ValidationError

from retrieval.errors import TemplateError, UsageError

B = TypeVar("B", bound=BaseModel)

TASKS: Final[Mapping[str, frozenset[str]]] = {
    "item": frozenset({"item", "facets"}),
    "enrich": frozenset({"item", "moods", "periods", "audiences"}),
    "rerank": frozenset({"liked", "disliked", "text", "candidates", "source", "target"}),
    "judge": frozenset({"liked", "disliked", "text", "candidate", "source", "target"}),
    "converse": frozenset({"text", "liked", "disliked", "shown", "domains"}),
    "explain": frozenset({"item", "title", "facts", "text", "source", "target", "wrong"}),
    "compare": frozenset({"liked", "first", "second", "source", "target"}),
}
"""Variables that each task gives its template."""

ROLES: Final = ("system", "user", "assistant")

_YAML: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast, where it is built in

# What an expression or filter in a template can raise: Jinja's own errors, and those of the Python underneath it.
_RENDERING: Final = (JinjaError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

# What could close a data field, open a label, or look like a chat template's control token.
_NEUTRAL: Final = str.maketrans(
    {"[": "(", "]": ")", "<": "‹", ">": "›", "{": "(", "}": ")", "|": "/", "`": "'", '"': "'"}
)


# Characters that show nothing and are no format characters: fillers and variation selectors (Unicode's
# Default_Ignorable_Code_Point outside category C).
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_FRACTION: Final = re.compile("([\u00bc-\u00be\u2150-\u215e\u2189])")
_BYTES_A_CHARACTER: Final = 3


def visible(text: object) -> str:
    """Untrusted text as one line: control characters become spaces, format and other invisible characters vanish."""
    line = _INVISIBLE.sub("", str(text))
    if not line.isprintable():  # almost every text is, and a prompt has hundreds of them
        spaced = (" " if c.isspace() or unicodedata.category(c) == "Cc" else c for c in line)
        line = "".join(c for c in spaced if not unicodedata.category(c).startswith("C"))
    return " ".join(line.split())


def plain(text: object, limit: int = 160) -> str:
    """Untrusted text as one harmless line of at most `limit` characters and 3 · `limit` bytes of UTF-8.

    Control and format characters (line breaks, bidirectional overrides, zero-width marks) become spaces or vanish,
    compatibility look-alikes are folded (NFKC), but not fractions ("8½" is no 81⁄2), and the characters that delimit
    labels, fields and control tokens in our prompts are replaced by ones that do not. Cut at a word's end with an
    ellipsis. A token of a byte-level tokenizer is at least one byte, so the bytes bound the tokens, whatever the text.
    """
    line = visible(text)
    if not line.isascii():  # ASCII has nothing to fold, and most texts are
        # Folding may bring characters to light that must go, and what is gone may let others be folded.
        parts = enumerate(_FRACTION.split(line))
        line = visible("".join(part if n % 2 else unicodedata.normalize("NFKC", part) for n, part in parts))
    line = line.translate(_NEUTRAL)
    if len(line) <= limit and len(line.encode()) <= _BYTES_A_CHARACTER * limit:
        return line
    ellipsis = "…"
    room = _BYTES_A_CHARACTER * limit - len(ellipsis.encode())
    cut = line[: limit - 1].encode()[:room].decode(errors="ignore")
    return cut.rsplit(" ", 1)[0].rstrip(" ,;:.") + ellipsis


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a cache by type and attribute: its answer depends on nothing else, and prompts ask often."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._safe: dict[tuple[type, str], bool] = {}

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        key = type(obj), attr
        if key not in self._safe:
            self._safe[key] = super().is_safe_attribute(obj, attr, value)
        return self._safe[key]


def _environment() -> ImmutableSandboxedEnvironment:
    # Prompts are plain text for a model, never HTML: escaping would corrupt them.
    env = _Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    env.filters["plain"] = plain
    return env


@dataclass(frozen=True)
class PromptTemplate:
    """A validated template.

    Attributes:
        name: file name without suffix.
        task: a key of `TASKS`.
        fingerprint: SHA-256 (hex) of the file's text; travels with every result made from it.
    """

    name: str
    task: str
    fingerprint: str
    variables: frozenset[str]
    _template: Template = field(repr=False, compare=False)

    def text(self, **variables: Any) -> str:
        """Render a template without blocks.

        Raises:
            TemplateError: a variable is missing or rendering fails.
        """
        return self._render(self._template.render, variables)

    def messages(self, **variables: Any) -> list[dict[str, str]]:
        """Render the blocks of a chat template to messages `{"role", "content"}`, in the order system, user, assistant.

        Raises:
            TemplateError: a variable is missing or rendering fails.
        """
        return [
            {"role": role, "content": self._render(lambda role=role, **v: self._block(role, v), variables)}
            for role in ROLES
            if role in self._template.blocks
        ]

    def _block(self, role: str, variables: Mapping[str, Any]) -> str:
        return "".join(self._template.blocks[role](self._template.new_context(dict(variables))))

    def _render(self, render: Callable[..., str], variables: Mapping[str, Any]) -> str:
        missing = sorted(self.variables - variables.keys())
        if missing:
            raise TemplateError(f"template {self.name!r} needs {', '.join(missing)}")
        try:
            return str(render(**variables)).strip()
        except _RENDERING as exc:
            raise TemplateError(f"template {self.name!r} does not render: {exc}") from exc


def prompts_dir() -> Path:
    """Folder of the shipped templates: inside the package when installed, beside it in a checkout."""
    inside = Path(__file__).parent / "prompts"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "prompts"


def languages() -> tuple[str, ...]:
    """Languages that there are templates for: the folders under prompts/ ("en", "es", "zh")."""
    return tuple(sorted(path.name for path in prompts_dir().iterdir() if (path / "sentences.yaml").is_file()))


def load_template(name_or_path: str | Path) -> PromptTemplate:
    """Load a shipped template by name ("rerank", "zh/explain", "explain": the English one) or any file by path.

    Raises:
        TemplateError: no such file, front matter that is not what it should be, a syntax error, or variables that the
            task does not give; the message lists every one.
    """
    path, name = Path(name_or_path), Path(name_or_path).stem
    if path.suffix != ".jinja":
        name = str(name_or_path)
        places = [prompts_dir() / f"{name}.jinja", prompts_dir() / "en" / f"{name}.jinja"]
        path = next((place for place in places if place.is_file()), places[0])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        known = ", ".join(shipped_templates())
        raise TemplateError(f"cannot read template {path}: {exc}", hint=f"shipped templates: {known}") from exc
    return parse_template(name, text)


def shipped_templates() -> tuple[str, ...]:
    """The names of all shipped templates, as `load_template` takes them."""
    root = prompts_dir()
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.jinja")))


def load_yaml(language: str, name: str, kind: type[B]) -> B:
    """The file prompts/LANGUAGE/NAME.yaml as validated data.

    Raises:
        UsageError: there is no folder for the language.
        TemplateError: the file is missing, no YAML, or not what `kind` says.
    """
    if language not in languages():
        raise UsageError(f"no templates for language {language!r}", hint=f"one of: {', '.join(languages())}")
    return read_yaml(prompts_dir() / language / f"{name}.yaml", kind)


def read_yaml(path: Path, kind: type[B]) -> B:
    """A file as validated data. Raises TemplateError: it is missing, no YAML, or not what `kind` says."""
    try:
        return kind.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML))  # noqa: S506 (it is safe)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as exc:
        raise TemplateError(f"{path}: {exc}", hint="compare it with the same file under prompts/en") from exc


@cache
def parse_template(name: str, text: str) -> PromptTemplate:
    """Validate a template given as text. Raises TemplateError as `load_template` does."""
    head, body = _split(name, text)
    task = str(head.get("task"))
    if task not in TASKS:
        raise TemplateError(f"template {name!r}: task is {task!r}, must be one of {', '.join(TASKS)}")
    variables = head.get("variables") or []
    if not isinstance(variables, list) or not all(isinstance(v, str) for v in variables):
        raise TemplateError(f"template {name!r}: variables must be a list of names", hint="as in: variables: [item]")
    declared = frozenset(variables)
    env = _environment()
    try:
        tree = env.parse(body)
        used = meta.find_undeclared_variables(tree)
        template = env.from_string(tree)
    except JinjaError as exc:
        raise TemplateError(f"template {name!r} does not parse: {exc}") from exc
    problems = [f"{v!r} is used but not declared" for v in sorted(used - declared)]
    problems += [f"{v!r} is declared but task {task!r} does not give it" for v in sorted(declared - TASKS[task])]
    problems += [f"block {b!r} is none of {', '.join(ROLES)}" for b in sorted(template.blocks.keys() - set(ROLES))]
    if problems:
        raise TemplateError(f"template {name!r}: " + "; ".join(problems))
    return PromptTemplate(name, task, hashlib.sha256(text.encode()).hexdigest(), declared, template)


def _split(name: str, text: str) -> tuple[dict[str, Any], str]:
    parts = text.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise TemplateError(f"template {name!r} lacks front matter", hint="begin it with ---, task:, variables:, ---")
    try:
        head = yaml.load(parts[1], Loader=_YAML)  # noqa: S506 (it is safe)
    except yaml.YAMLError as exc:
        raise TemplateError(f"template {name!r}: front matter is not YAML: {exc}") from exc
    if not isinstance(head, dict) or set(head) - {"task", "variables", "description"}:
        raise TemplateError(f"template {name!r}: front matter holds task, variables and description only")
    return head, parts[2]
