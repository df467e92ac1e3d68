"""`xdrec ingest --relations`. Reads a file of triples into the store, prints what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from retrieval.templates import visible
from xdrec_agent.cli.context import settings

if TYPE_CHECKING:
    from retrieval.ingest import RelationReport

_SHOWN = 20  # predicates


def ingest_relations(
    file: Path, *, format_: str | None, columns: Mapping[str, str], strict: bool, rejects: Path, json_: bool
) -> None:
    """Write a file's triples into the store and say how many by predicate."""
    from retrieval.ingest import IngestRequest, RelationReport, ingest
    from xdrec_agent.app import open_store
    from xdrec_agent.cli.progress import counting_bar

    request = IngestRequest(file, kind="relations", format=format_, columns=columns, strict=strict, rejects=rejects)
    with open_store(settings()) as store, counting_bar() as bar:
        task = bar.add_task(f"relations: {file.name}", total=None)
        (report,) = ingest(store, request, progress=lambda done: bar.update(task, completed=done))
    if json_:
        typer.echo(report.model_dump_json(indent=2))
    elif isinstance(report, RelationReport):
        _print(report)


def _print(report: RelationReport) -> None:
    typer.echo(
        f"relations: {report.rows:,} rows: {report.added:,} new, {report.unchanged:,} as they were,"
        f" {report.repeated:,} repeated, {report.labels:,} labels, {report.rejected:,} rejected"
    )
    for predicate, counts in list(report.predicates.items())[:_SHOWN]:
        bad = f", {counts.rejected:,} rejected" if counts.rejected else ""
        typer.echo(f"  {visible(predicate)[:40]:24} {counts.added:>9,} new {counts.unchanged:>9,} as they were{bad}")
    if len(report.predicates) > _SHOWN:
        typer.echo(f"  and {len(report.predicates) - _SHOWN:,} predicates more: --json has them")
    if report.unlinked:
        typer.echo(
            f"  {report.unlinked:>7,}  relations name no known item, nor anything related to one: kept;"
            " ingest their catalogue, then this file again",
            err=True,
        )
    for reason, count in report.reasons.items():
        typer.echo(f"  {count:>7,}  {reason}", err=True)
    for problem in report.problems[:5]:
        typer.echo(f"    line {problem.line}: {visible(problem.reason)}", err=True)
    if report.rejects_file:
        typer.echo(f"  all of them: {report.rejects_file}", err=True)
