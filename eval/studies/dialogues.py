"""Dialogues with known outcomes. Reads eval/studies/dialogues.yaml and a reader, produces how often a turn was read
right.

A turn is right if all of the state is: items, filter, domains, language, wish, number, what is done and about what.
What a turn did is judged alone: the next one starts from the state that was expected, so that one mistake counts once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from retrieval.errors import DataError
from retrieval.types import Filter, Frozen
from xdrec_agent.converse import (
    DialogueDecision,
    DialogueState,
    ItemRef,
    Language,
    Lexicon,
    Opinion,
    Understanding,
    update_state,
)

FILE: Final = Path(__file__).parent / "dialogues.yaml"
Understand = Callable[[str, DialogueState], Awaitable[Understanding]]


class ScriptedTurn(Frozen):
    """One turn and what it must change; see the head of dialogues.yaml."""

    say: str
    kind: str
    like: tuple[str, ...] = ()
    dislike: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    filter: dict[str, Any] = Field(default_factory=dict)
    to: str | None = None
    source: str | None = Field(default=None, alias="from")
    language: Language | None = None
    k: int | None = None
    wish: tuple[str, ...] = ()
    reset: bool = False
    act: str = "rank"
    about: tuple[str, ...] = ()
    ask: str | None = None
    options: tuple[str, ...] = ()
    note: str | None = None
    shows: tuple[str, ...] = ()


class ScriptedDialogue(Frozen):
    """One dialogue."""

    id: str
    language: Language
    source: str | None = Field(default=None, alias="from")
    to: str | None = None
    held_out: bool = False
    turns: tuple[ScriptedTurn, ...]


class TurnResult(Frozen):
    """Whether a turn's state was right, and if not, in what it was not; `number` counts a dialogue's turns, from 1."""

    dialogue: str
    number: int
    language: Language
    held_out: bool
    say: str
    kind: str
    right: bool
    wrong: tuple[str, ...] = ()


def load_dialogues(path: Path = FILE) -> tuple[ScriptedDialogue, ...]:
    """The dialogues of a file. Raises DataError."""
    try:
        return tuple(ScriptedDialogue.model_validate(one) for one in yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as exc:
        raise DataError(f"{path}: {exc}", hint="see eval/studies/dialogues.yaml") from exc


async def run_dialogue(script: ScriptedDialogue, lexicon: Lexicon, understand: Understand) -> list[TurnResult]:
    """Play one dialogue. Raises StoreError, and UsageError for an id that the catalogues do not have."""
    state = DialogueState(language=script.language, sources=(script.source,) if script.source else (), target=script.to)
    out = []
    for number, turn in enumerate(script.turns, 1):
        decision = update_state(state, await understand(turn.say, state), lexicon.names())
        expected = _expected(state, turn, lexicon)
        wrong = tuple(_differences(decision, expected, turn, state))
        out.append(
            TurnResult(
                dialogue=script.id,
                number=number,
                language=script.language,
                held_out=script.held_out,
                say=turn.say,
                kind=turn.kind,
                right=not wrong,
                wrong=wrong,
            )
        )
        question = decision.state.question if turn.ask and not wrong else None
        shown = _refs(turn.shows, lexicon) or (expected.shown if turn.to in {None, state.target} else ())
        focus = _refs(turn.about, lexicon) or expected.focus
        wish = decision.state.wish if turn.wish and not wrong else expected.wish
        fixed = decision.state.language_fixed
        state = expected.model_copy(
            update={"question": question, "shown": shown, "focus": focus, "wish": wish, "language_fixed": fixed}
        )
    return out


def _refs(ids: Iterable[str], lexicon: Lexicon) -> tuple[ItemRef, ...]:
    out = []
    for id_ in ids:
        found = [ItemRef.of(item) for domain in lexicon.names() for item in lexicon.items(domain, [id_]).values()]
        if len(found) != 1:
            raise DataError(f"dialogues: {id_!r} is not one item", hint="ingest examples/films-books")
        out.append(found[0])
    return tuple(out)


def _expected(state: DialogueState, turn: ScriptedTurn, lexicon: Lexicon) -> DialogueState:
    if turn.reset:
        state = DialogueState(language=state.language, sources=state.sources, target=state.target)
    likes, dislikes, rejected = _refs(turn.like, lexicon), _refs(turn.dislike, lexicon), _refs(turn.reject, lexicon)
    gone = {ref.key for ref in (*likes, *dislikes, *_refs(turn.drop, lexicon))}
    changes: dict[str, Any] = {
        "likes": (*(o for o in state.likes if o.item.key not in gone), *(Opinion(item=r) for r in likes)),
        "dislikes": (
            *(o for o in state.dislikes if o.item.key not in gone),
            *(Opinion(item=r, preference=-1) for r in dislikes),
        ),
        "rejected": (*(r for r in state.rejected if r.key not in gone), *rejected),
        "filter": Filter(**{n: v for n, v in (state.filter.model_dump() | turn.filter).items() if v is not None}),
        "target": turn.to or state.target,
        "sources": (turn.source,) if turn.source else state.sources,
        "language": turn.language or state.language,
        "k": turn.k or state.k,
    }
    return state.model_copy(update=changes)


def _differences(
    decision: DialogueDecision, expected: DialogueState, turn: ScriptedTurn, before: DialogueState
) -> Iterable[str]:
    got = decision.state
    for name in ("likes", "dislikes"):
        have, want = ({o.item.id for o in getattr(s, name)} for s in (got, expected))
        yield from _differ(name, have, want)
    yield from _differ("rejected", {r.id for r in got.rejected}, {r.id for r in expected.rejected})
    for name in Filter.model_fields:
        yield from _differ(name, _plain(getattr(got.filter, name)), _plain(getattr(expected.filter, name)))
    for name in ("target", "sources", "language", "k"):
        yield from _differ(name, getattr(got, name), getattr(expected, name))
    if turn.wish:
        missing = [word for word in turn.wish if word not in (got.wish or "")]
        yield from _differ("wish lacks", missing, [])
    else:
        yield from _differ("wish", got.wish, None if turn.reset else before.wish)
    yield from _differ("act", decision.act, turn.act)
    if turn.act in {"why", "why_not", "tell"}:
        yield from _differ("about", [r.id for r in decision.about], list(turn.about))
    if turn.ask:
        yield from _differ("asks", got.question.kind if got.question else None, turn.ask)
        offered = {o.item.id for o in got.question.options if o.item} if got.question else set()
        yield from _differ("options lack", set(turn.options) - offered, set())
    if turn.note:
        yield from _differ("notes lack", {turn.note} - {r.note for r in decision.remarks}, set())


def _plain(value: object) -> object:
    return set(value) if isinstance(value, tuple) else value


def _differ(name: str, have: object, want: object) -> Iterable[str]:
    if have != want:
        yield f"{name}: {have!r}, expected {want!r}"


class Accuracy(Frozen):
    """Turns of one kind that were right."""

    kind: str
    turns: int
    right: int

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.right / self.turns if self.turns else 0.0


def accuracies(results: Sequence[TurnResult]) -> tuple[Accuracy, ...]:
    """All turns first, then by kind, by name."""
    kinds = sorted({result.kind for result in results})
    groups = [("all", list(results)), *((kind, [r for r in results if r.kind == kind]) for kind in kinds)]
    return tuple(Accuracy(kind=kind, turns=len(rs), right=sum(r.right for r in rs)) for kind, rs in groups)
