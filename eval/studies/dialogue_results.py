"""The dialogue test run. Reads the demo pack and the dialogues, produces accuracy by reader and kind of turn.

With a model every turn is read by the rules and by it (`[chat] model = "always"`), dialogues at the same time, and
however long it takes: what is measured is what it understands. Its replies are kept in the response cache, so that a
run that was stopped goes on. An outage is an error and no wrong turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from eval.studies.dialogues import (
    Accuracy,
    ScriptedDialogue,
    TurnResult,
    Understand,
    accuracies,
    load_dialogues,
    run_dialogue,
)
from eval.systems import run_concurrently
from retrieval.errors import DataError
from retrieval.ingest import IngestRequest, ingest
from retrieval.store import Store
from retrieval.types import Frozen
from xdrec_agent.app import load_pack
from xdrec_agent.converse import DialogueState, Lexicon, RuleNLU, Understanding, ask_for_slots, complete_understanding
from xdrec_agent.errors import LLMReplyInvalid, LLMTimeout
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import Settings

if TYPE_CHECKING:
    from eval.data import Say

THIS_YEAR: Final = 2026
"""The year that the dialogues were written in, from which "the last ten years" counts."""
RULES: Final = "rules"
_WIDTH: Final = 100


class ReaderResult(Frozen):
    """What one reader made of every turn.

    `failed` counts the turns to which the model gave no usable answer, so that the rules stood alone.
    """

    reader: str
    turns: tuple[TurnResult, ...]
    failed: int = 0

    @property
    def tuned(self) -> tuple[Accuracy, ...]:
        """Of the turns that the rules were made with: all of them, then by kind."""
        return accuracies([turn for turn in self.turns if not turn.held_out])

    @property
    def held_out(self) -> tuple[Accuracy, ...]:
        """Of the other turns: all of them, then by kind."""
        return accuracies([turn for turn in self.turns if turn.held_out])

    @property
    def rows(self) -> tuple[Accuracy, ...]:
        """Of all turns, of the tuned and the held-out ones, by language, then by kind."""
        whole, *kinds = accuracies(self.turns)
        parts = [("tuned", self.tuned[0]), ("held out", self.held_out[0])]
        for language in sorted({turn.language for turn in self.turns}):
            parts.append((language, accuracies([turn for turn in self.turns if turn.language == language])[0]))
        named = [accuracy.model_copy(update={"kind": kind}) for kind, accuracy in parts]
        return (whole, *named, *kinds)

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


def merged(before: Sequence[ReaderResult], now: Sequence[ReaderResult]) -> tuple[ReaderResult, ...]:
    """Earlier results and those of now, which stand for earlier ones of the same reader; the rules first."""
    found = {one.reader: one for one in (*before, *now)}
    return tuple(sorted(found.values(), key=lambda one: one.reader != RULES))


def save_results(path: Path, found: Sequence[ReaderResult]) -> None:
    """Keep results for later runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_RESULTS.dump_json(tuple(found), indent=1))


async def measured(pack: Path, settings: Settings | None, say: Say | None = None) -> list[ReaderResult]:
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

        out = [await _run(RULES, lexicon, rules)]
        if settings is not None:
            from xdrec_agent.app import open_client

            chosen = settings.patient()
            client = await stack.enter_async_context(open_client(chosen))
            both = _WithModel(nlu, lexicon, client, chosen)
            at_once = chosen.llm.concurrency * len(client.endpoint.base_urls)
            result = await _run(f"{RULES}+{client.endpoint.model}", lexicon, both, say, at_once)
            out.append(result.model_copy(update={"failed": both.failed}))
        return out


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


async def _run(
    name: str, lexicon: Lexicon, understand: Understand, say: Say | None = None, at_once: int = 1
) -> ReaderResult:
    async def play(script: ScriptedDialogue) -> list[TurnResult]:
        return await run_dialogue(script, lexicon, understand)

    found = await run_concurrently(load_dialogues(), play, name, say or _silent, at_once, unit="dialogues")
    return ReaderResult(reader=name, turns=tuple(turn for turns in found for turn in turns))


def _silent(_line: str) -> None:
    """Tell nobody."""


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
    before = {(turn.dialogue, turn.number): turn.right for turn in rules.turns}
    changed = [t.right for t in other.turns if before.get((t.dialogue, t.number), t.right) != t.right]
    better, failed = sum(changed), f"; no usable answer to {other.failed} turns" if other.failed else ""
    told = f"{other.reader}: {better} turns right that the rules read wrongly, {len(changed) - better} the other way"
    return f"{told} (p = {binomtest(better, len(changed)).pvalue:.2g}){failed}" if changed else f"{told}{failed}"


def _cell(accuracy: Accuracy | None) -> str:
    return f"{accuracy.right} ({accuracy.share:.1%})" if accuracy and accuracy.turns else "-"
