"""The dialogue test run. Reads the demo pack and the dialogues, produces accuracy by reader, part and kind of turn."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.table import Table

from eval.dialogue_test import Accuracy, TurnResult, Understand, accuracies, load_dialogues, run_dialogue
from retrieval.ingest import ingest
from retrieval.store import Store
from retrieval.types import Frozen
from xdrec_agent.converse.intent import ask_model, completed
from xdrec_agent.converse.lexicon import Lexicon
from xdrec_agent.converse.reader import Reader
from xdrec_agent.converse.state import DialogueState
from xdrec_agent.converse.understanding import Understanding
from xdrec_agent.demo import load_pack
from xdrec_agent.errors import LLMError
from xdrec_agent.llm import LLMClient
from xdrec_agent.settings import ChatSettings, Settings

THIS_YEAR: Final = 2026
"""The year that the dialogues were written in, from which "the last ten years" counts."""
RULES: Final = "rules"


class ReaderResult(Frozen):
    """What one reader came to. `tuned` are the turns that the rules were made with, `held_out` the others.

    `failed` counts turns for which the model gave no answer, so that the rules stood alone.
    """

    reader: str
    tuned: tuple[Accuracy, ...]
    held_out: tuple[Accuracy, ...]
    by_language: tuple[Accuracy, ...]
    wrong: tuple[TurnResult, ...]
    failed: int = 0


async def measured(pack: Path, settings: Settings | None) -> list[ReaderResult]:
    """The rules alone and, with settings, the rules completed by their model.

    Raises:
        DataError: the pack or the dialogues are not what they should be.
        SetupError: no model runs.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        store = stack.enter_context(Store.open(f"sqlite:///{folder}/store.sqlite"))
        for domain, file in load_pack(pack).catalogues.items():
            ingest(store, domain, pack / file)
        lexicon = Lexicon(store)
        reader = Reader(lexicon, this_year=THIS_YEAR)

        async def rules(text: str, state: DialogueState) -> Understanding:
            return reader.read(text, state)

        out = [await _run(RULES, lexicon, rules)]
        if settings is not None:
            from xdrec_agent.assembly import open_client

            client = await stack.enter_async_context(open_client(settings))
            both = _WithModel(reader, lexicon, client, settings.chat)
            result = await _run(f"{RULES}+{client.endpoint.model}", lexicon, both)
            out.append(result.model_copy(update={"failed": both.failed}))
        return out


class _WithModel:
    """The rules completed by a model in every turn, as `[chat] model = "always"` does."""

    def __init__(self, reader: Reader, lexicon: Lexicon, client: LLMClient, settings: ChatSettings) -> None:
        self.reader, self.lexicon, self.client, self.settings = reader, lexicon, client, settings
        self.failed = 0

    async def __call__(self, text: str, state: DialogueState) -> Understanding:
        said, domains = self.reader.read(text, state), self.lexicon.names()
        try:
            intent = await ask_model(self.client, text, state, domains, user=None, deadline_s=self.settings.deadline_s)
        except (LLMError, TimeoutError):
            self.failed += 1
            return said
        return completed(said, intent, text, state, self.lexicon, domains)


async def _run(name: str, lexicon: Lexicon, understand: Understand) -> ReaderResult:
    results = [turn for script in load_dialogues() for turn in await run_dialogue(script, lexicon, understand)]
    by_language = tuple(
        accuracies([r for r in results if r.language == language])[0].model_copy(update={"kind": language})
        for language in ("en", "zh")
    )
    return ReaderResult(
        reader=name,
        tuned=accuracies([r for r in results if not r.held_out]),
        held_out=accuracies([r for r in results if r.held_out]),
        by_language=by_language,
        wrong=tuple(r for r in results if not r.right),
    )


def print_dialogues(found: list[ReaderResult], out: Console, *, failures: bool) -> None:
    """A table of accuracy by kind for each reader; with `failures` what was wrong."""
    for result in found:
        table = Table("kind of turn", "tuned", "held out", title=result.reader, title_justify="left")
        held = {accuracy.kind: accuracy for accuracy in result.held_out}
        tuned = {accuracy.kind: accuracy for accuracy in result.tuned}
        for kind in ["all", *sorted((held.keys() | tuned.keys()) - {"all"})]:
            table.add_row(kind, _cell(tuned.get(kind)), _cell(held.get(kind)))
        out.print(table)
        for accuracy in result.by_language:
            out.print(f"{accuracy.kind}: {_cell(accuracy)}")
        if result.failed:
            out.print(f"the model gave no answer to {result.failed} turns")
        for turn in result.wrong if failures else ():
            out.print(f"{turn.dialogue}: {turn.say}\n    " + "\n    ".join(turn.wrong), markup=False)


def _cell(accuracy: Accuracy | None) -> str:
    return f"{accuracy.right} of {accuracy.turns} ({accuracy.share:.1%})" if accuracy and accuracy.turns else "-"
