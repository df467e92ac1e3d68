"""How often is a dialogue's state right after a turn? Reads the labelled dialogues of dialogues.yaml and the demo pack,
produces accuracy by reader and kind of turn.

A turn is right if all of the state is: items, filter, domains, language, wish, number, what is done and about what.
Each turn is judged alone: the next one starts from the state that was expected, so that one mistake counts once.

With a model every turn is read by the rules and by it (`[chat] model = "always"`), dialogues at the same time, and
however long it takes: what is measured is what it understands. Its replies are kept in the response cache, so that a
run that was stopped goes on. An outage is an error and no wrong turn.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from eval.data import Say
from eval.systems import run_concurrently
from retrieval.errors import DataError
from retrieval.files import write_atomic
from retrieval.ingest import IngestRequest, ingest
from retrieval.store import Store
from retrieval.types import Filter, Frozen
from xdrec_agent.app import load_pack
from xdrec_agent.converse import (
    DialogueDecision,
    DialogueState,
    ItemRef,
    Language,
    Lexicon,
    Opinion,
    RuleNLU,
    Understanding,
    ask_for_slots,
    complete_understanding,
    update_state,
)
from xdrec_agent.errors import LLMReplyInvalid, LLMTimeout
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import Settings

FILE: Final = Path(__file__).parent / "dialogues.yaml"
THIS_YEAR: Final = 2026
"""The year that the dialogues were written in, from which "the last ten years" counts."""
RULES: Final = "rules"
_WIDTH: Final = 100
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


class Accuracy(Frozen):
    """Turns of one kind that were right."""

    kind: str
    turns: int
    right: int

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.right / self.turns if self.turns else 0.0


def load_dialogues(path: Path = FILE) -> tuple[ScriptedDialogue, ...]:
    """The dialogues of a file. Raises DataError."""
    try:
        return tuple(ScriptedDialogue.model_validate(one) for one in yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError, TypeError) as exc:
        raise DataError(f"{path}: {exc}", hint="see eval/studies/dialogues.yaml") from exc


async def run_dialogue(script: ScriptedDialogue, lexicon: Lexicon, understand: Understand) -> list[TurnResult]:
    """Play one dialogue. Raises StoreError, and UsageError for an id that the catalogues do not have."""
    state = DialogueState(language=script.language, sources=(script.source,) if script.source else (), target=script.to)
    results = []
    for number, turn in enumerate(script.turns, 1):
        decision = update_state(state, await understand(turn.say, state), lexicon.names())
        expected = _expected(state, turn, lexicon)
        wrong = tuple(_differences(decision, expected, turn, state))
        results.append(TurnResult(
            dialogue=script.id, number=number, language=script.language, held_out=script.held_out, say=turn.say,
            kind=turn.kind, right=not wrong, wrong=wrong,
        ))  # fmt: skip
        question = decision.state.question if turn.ask and not wrong else None
        shown = _refs(turn.shows, lexicon) or (expected.shown if turn.to in {None, state.target} else ())
        focus = _refs(turn.about, lexicon) or expected.focus
        wish = decision.state.wish if turn.wish and not wrong else expected.wish
        fixed = decision.state.language_fixed
        state = expected.model_copy(
            update={"question": question, "shown": shown, "focus": focus, "wish": wish, "language_fixed": fixed}
        )
    return results


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
    likes, dislikes, rejected = (_refs(ids, lexicon) for ids in (turn.like, turn.dislike, turn.reject))
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


class ReaderResult(Frozen):
    """What one reader made of every turn.

    `failed` counts the turns to which the model gave no usable answer, so that the rules stood alone.
    """

    reader: str
    turns: tuple[TurnResult, ...]
    failed: int = 0

    @property
    def rows(self) -> tuple[Accuracy, ...]:
        """Of all turns, of those that the rules were made with and of the others, by language, then by kind."""
        groups: dict[str, Sequence[TurnResult]] = {
            "all": self.turns,
            "tuned": [turn for turn in self.turns if not turn.held_out],
            "held out": [turn for turn in self.turns if turn.held_out],
        }
        for name in ("language", "kind"):
            for value in sorted({getattr(turn, name) for turn in self.turns}):
                groups[value] = [turn for turn in self.turns if getattr(turn, name) == value]
        return tuple(
            Accuracy(kind=kind, turns=len(turns), right=sum(turn.right for turn in turns))
            for kind, turns in groups.items()
        )

    def summary(self) -> dict[str, Any]:
        """The same as JSON, with the turns that were read wrongly."""
        wrong = [turn.model_dump() for turn in self.turns if not turn.right]
        return {
            "reader": self.reader,
            "failed": self.failed,
            "accuracy": [a.model_dump() | {"share": a.share} for a in self.rows],
            "wrong": wrong,
        }


_RESULTS: Final = TypeAdapter(tuple[ReaderResult, ...])


def load_results(path: Path) -> tuple[ReaderResult, ...]:
    """The results of earlier runs; none if there is no file. Raises DataError."""
    try:
        return _RESULTS.validate_json(path.read_bytes()) if path.exists() else ()
    except (OSError, ValidationError) as exc:
        raise DataError(f"{path} holds no results of xdrec-eval chat", hint="name another file") from exc


def merge_results(before: Sequence[ReaderResult], now: Sequence[ReaderResult]) -> tuple[ReaderResult, ...]:
    """Earlier results and those of now, which stand for earlier ones of the same reader; the rules first."""
    found = {one.reader: one for one in (*before, *now)}
    return tuple(sorted(found.values(), key=lambda one: one.reader != RULES))


def save_results(path: Path, found: Sequence[ReaderResult]) -> None:
    """Keep results for later runs."""
    write_atomic(path, _RESULTS.dump_json(tuple(found), indent=1))


async def measure_dialogues(pack: Path, settings: Settings | None, say: Say = lambda _line: None) -> list[ReaderResult]:
    """The rules alone and, with settings, the rules completed by their model.

    Args:
        say: told how far it is.

    Raises:
        DataError: the pack or the dialogues are not what they should be.
        SetupError: no model runs.
        LLMError: it cannot be reached, or refuses.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        store = stack.enter_context(Store.open(f"sqlite:///{folder}/store.sqlite"))
        for domain, file in load_pack(pack).catalogues.items():
            ingest(store, IngestRequest(pack / file, domain))
        lexicon = Lexicon(store)
        nlu = RuleNLU(lexicon, this_year=THIS_YEAR)

        async def rules(text: str, state: DialogueState) -> Understanding:
            return nlu.understand(text, state)

        results = [await _run(RULES, lexicon, rules, lambda _line: None)]
        if settings is not None:
            from xdrec_agent.app import open_client

            chosen = settings.patient()
            client = await stack.enter_async_context(open_client(chosen))
            both = _WithModel(nlu, lexicon, client, chosen)
            at_once = chosen.llm.concurrency * len(client.endpoint.base_urls)
            result = await _run(f"{RULES}+{client.endpoint.model}", lexicon, both, say, at_once)
            results.append(result.model_copy(update={"failed": both.failed}))
        return results


class _WithModel:
    """The rules completed by a model in every turn, as `[chat] model = "always"` does."""

    def __init__(self, nlu: RuleNLU, lexicon: Lexicon, client: LLMClient, settings: Settings) -> None:
        self.nlu, self.lexicon, self.client = nlu, lexicon, client
        self.deadline_s = max(settings.chat.deadline_s, settings.llm.timeout_s)
        self.failed = 0

    async def __call__(self, text: str, state: DialogueState) -> Understanding:
        understanding, domains = self.nlu.understand(text, state), self.lexicon.names()
        try:
            slots = await ask_for_slots(self.client, text, state, domains, user=None, deadline_s=self.deadline_s)
        except (LLMReplyInvalid, LLMTimeout, TimeoutError):
            self.failed += 1
            return understanding
        return complete_understanding(understanding, slots, text, state, self.lexicon)


async def _run(name: str, lexicon: Lexicon, understand: Understand, say: Say, at_once: int = 1) -> ReaderResult:
    async def play(script: ScriptedDialogue) -> list[TurnResult]:
        return await run_dialogue(script, lexicon, understand)

    played = await run_concurrently(load_dialogues(), play, name, say, at_once, unit="dialogues")
    return ReaderResult(reader=name, turns=tuple(turn for turns in played for turn in turns))


def print_dialogues(found: Sequence[ReaderResult], out: Console, *, failures: bool) -> None:
    """One table of accuracy by kind of turn with a column a reader; with `failures` what was wrong."""
    table = Table("kind of turn", "turns", *(one.reader for one in found), box=SIMPLE_HEAD)
    by_reader = [{row.kind: row for row in one.rows} for one in found]
    for n, row in enumerate(found[0].rows):
        cells = (rows.get(row.kind) for rows in by_reader)
        table.add_row(row.kind, str(row.turns), *(_cell(cell) for cell in cells), end_section=n in {0, 4})
    out.print(table, width=max(_WIDTH, out.width))
    for one in found[1:]:
        out.print(_against(found[0], one), markup=False)
    for one in found if failures else ():
        for turn in one.turns:
            if not turn.right:
                where = f"{one.reader}, {turn.dialogue}: {turn.say}"
                out.print(f"{where}\n    " + "\n    ".join(turn.wrong), markup=False)


def _against(rules: ReaderResult, other: ReaderResult) -> str:
    """What a model changes, turn by turn, and whether that could be chance (exact sign test of the changed ones)."""
    from scipy.stats import binomtest

    before = {(turn.dialogue, turn.number): turn.right for turn in rules.turns}
    changed = [t.right for t in other.turns if before.get((t.dialogue, t.number), t.right) != t.right]
    better, failed = sum(changed), f"; no usable answer to {other.failed} turns" if other.failed else ""
    told = f"{other.reader}: {better} turns right that the rules read wrongly, {len(changed) - better} the other way"
    return f"{told} (p = {binomtest(better, len(changed)).pvalue:.2g}){failed}" if changed else f"{told}{failed}"


def _cell(accuracy: Accuracy | None) -> str:
    return f"{accuracy.right} ({accuracy.share:.1%})" if accuracy and accuracy.turns else "-"
