"""Around `xdrec ingest`. Reads its options and reports, produces the day that a date means, and prints reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import typer

from retrieval.errors import BackendError, SetupError, UsageError
from retrieval.ingest import IngestReport, IngestRequest
from retrieval.store import Store
from retrieval.tabular import ROW_READERS
from retrieval.templates import visible
from xdrec_agent.settings import Settings


def show_reports(reports: Sequence[IngestReport], request: IngestRequest, *, json_: bool) -> None:
    """What became of a plain table; of a known format a line for each file, as JSON a list of reports."""
    if reports[0].format in ROW_READERS:
        if json_:
            typer.echo(reports[0].model_dump_json(indent=2))
        else:
            print_report(reports[0])
        return
    if request.format is None:
        note = f"read as {reports[0].format}; --format csv, jsonl … reads a plain table"
        typer.echo(f"{request.path}: {note}", err=True)
    if json_:
        typer.echo(json.dumps([report.model_dump(mode="json") for report in reports], indent=2))
        return
    for report in reports:
        print_report(report, f"{report.file}, ")
    if reports[-1].rejects_file:
        typer.echo(f"all rejected rows: {reports[-1].rejects_file}", err=True)


def print_report(report: IngestReport, file: str = "") -> None:
    """What became of a file's rows; `file` names it where there are several."""
    typer.echo(
        f"{report.domain}: {file}{report.rows:,} rows of {report.kind}: {report.added:,} new,"
        f" {report.updated:,} changed, {report.unchanged:,} as they were, {report.rejected:,} rejected"
    )
    if report.new_items:
        typer.echo(f"  {report.new_items:>7,}  items added to the catalogue")
    for reason, count in report.left_out.items():
        typer.echo(f"  {count:>7,}  left out: {reason}")
    if report.attributes:
        typer.echo(f"attributes: {', '.join(report.attributes)}")
    for reason, count in sorted(report.reasons.items(), key=lambda pair: -pair[1]):
        typer.echo(f"  {count:>7,}  {reason}", err=True)
    for problem in report.problems[:5]:
        typer.echo(f"    line {problem.line}: {visible(problem.reason)}", err=True)
    if report.rejects_file and not file:
        typer.echo(f"  all of them: {report.rejects_file}", err=True)


def index_new(configured: Settings, store: Store, domain: str, reports: Sequence[IngestReport]) -> None:
    """Add new items to the domain's index where it has one; what became of them goes to stderr.

    The items are in the store already, so whatever keeps them from the index is a remark and no failure.
    """
    from xdrec_agent.app import index_new_items

    try:
        report = index_new_items(configured, store, domain, reports)
    except (SetupError, BackendError) as exc:
        typer.echo(f"{domain}: the index is as it was: {exc} → {exc.hint}", err=True)
        return
    if report and report.added:
        typer.echo(f"{domain}: new in the index: {report.added:,} ({report.total_s:.1f} s)", err=True)
    if report and report.waiting:
        typer.echo(f"{domain}: new and not in the index: {report.waiting:,} → xdrec index {domain}", err=True)


def since_seconds(text: str | None) -> int | None:
    """Unix seconds of a date as it is typed, in UTC if it says nothing else.

    Raises:
        UsageError: it is no date.
    """
    if text is None:
        return None
    try:
        day = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UsageError(f"--since {text!r} is not a date", hint="for example --since 2015-01-01") from exc
    return int((day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp())
