"""What `xdrec-eval explain` shows. Reads settings, produces figures, a table of them, and a file for labelling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from eval.studies.explanations import Explained, ExplainReport, explained, report
from retrieval.errors import UsageError
from xdrec_agent.app import open_recommender
from xdrec_agent.settings import Settings


async def measured(
    settings: Settings,
    source: str,
    target: str,
    count: int,
    k: int,
    seed: int,
    out: Path | None,
    say: Callable[[str], None],
) -> ExplainReport:
    """The figures; `out` gets the explanations, one JSON object (`eval.studies.explanations.Explained`) a line.

    Raises:
        UsageError: there is nobody and nothing to explain to, or `out` cannot be written.
        SetupError, BackendError: from the recommender.
    """
    async with open_recommender(settings) as recommender:
        rows, seconds = await explained(recommender, source, target, count, k, seed, say)
        client = recommender.explain_context.client
    if out is not None:
        _write(rows, out)
    return report(rows, seconds, client.endpoint.model if client else None)


def _write(rows: list[Explained], out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"cannot write {out}: {exc}", hint="name another file in --out") from exc


def print_explanations(found: ExplainReport, console: Console) -> None:
    """The figures as a table."""
    table = Table(show_header=False, box=None)
    model = found.model or "no model"
    table.add_row("explanations", f"{found.explanations} to {found.people} people, {found.language}, {found.style}")
    table.add_row("model", model)
    table.add_row("claims supported", f"{found.supported:.1%} of {found.claims:.1f} an explanation")
    table.add_row("source", ", ".join(f"{name} {share:.1%}" for name, share in found.sources.items()))
    table.add_row("length", f"{found.words:.1f} words (Chinese: characters)")
    if found.similarity is not None and found.duplicates is not None:
        alike = f"Jaccard {found.similarity:.2f}, {found.duplicates:.1%} the same text"
        table.add_row("two people, one item", alike)
    table.add_row("right language", f"{found.right_language:.1%}")
    table.add_row("time", f"{found.seconds:.2f} s an explanation, median wait {found.median_wait:.2f} s")
    console.print(table)
    for reason in found.reasons:
        console.print(f"not the first answer: {reason}", style="dim", markup=False)
