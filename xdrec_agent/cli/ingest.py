"""`xdrec ingest`. Reads files into the store, adds new items to the index, prints what became of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

import typer

from retrieval.errors import BackendError, SetupError, UsageError
from xdrec_agent.cli.context import print_json, settings
from xdrec_agent.cli.options import Json, Texts

if TYPE_CHECKING:
    from retrieval.ingest import IngestReport, IngestRequest, RelationReport
    from retrieval.store import Store
    from xdrec_agent.settings import Settings

_PREDICATES: Final = 20  # of relations, that are shown
_PROBLEMS: Final = 5  # rejected rows that are shown


def ingest(
    domain: Annotated[
        str | None, typer.Argument(metavar="DOMAIN", help="Whose items or interactions they are.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSONL (both also .gz), Parquet; a data set's file, folder or ZIP.",
            show_default=False,
        ),
    ] = None,
    relations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Triples instead: CSV, JSONL, N-Triples (.nt) or Turtle (.ttl), also .gz."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="items or interactions; default: seen from the columns.")] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="csv, jsonl, parquet, or one of docs/how-to/formats.md; default: seen from the file."
        ),
    ] = None,
    column: Annotated[
        Texts | None, typer.Option(metavar="FIELD=COLUMN", help="A column that has another name; again for more.")
    ] = None,
    list_separator: Annotated[
        str | None, typer.Option(help="Between the parts of a list in one text; default: |.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="The file's rating scale; default: 1:5.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(help="Kind of interactions without a kind column; default: rating.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose own export it is.")] = None,
    add_items: Annotated[
        bool, typer.Option("--add-items", help="Make items of an export's titles that the catalogue lacks.")
    ] = False,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many users, with all they did.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Only interactions from this day on.")] = None,
    min_interactions: Annotated[int, typer.Option(min=1, help="Only users with so many.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="File for bad rows; default: in the home folder.")] = None,
    json_: Json = False,
) -> None:
    """Read items or interactions from a file into the store; safe to run again.

    A few new items (index.incremental_limit) join the index of a domain that has one and can be recommended at once.

    \b
    Examples:
      xdrec ingest films films.csv
      xdrec ingest books books.jsonl.gz --column creators=author --strict
      xdrec ingest films ratings.csv --scale 1:10
      xdrec ingest music plays.parquet --event play
      xdrec ingest films ml-32m.zip --format movielens --sample 10000 --min-interactions 20
      xdrec ingest films letterboxd.zip --format letterboxd --user me
      xdrec ingest --relations relations.csv
    """
    from retrieval.ingest import IngestRequest, InteractionFilter
    from retrieval.ingest import ingest as run
    from xdrec_agent.app import open_store
    from xdrec_agent.cli.progress import counting_bar

    if [domain is None, file is None] != [relations is not None] * 2:
        hint = "xdrec ingest DOMAIN FILE, or xdrec ingest --relations FILE"
        raise UsageError("give a domain with a file, or relations alone", hint=hint)
    if kind not in {None, "items", "interactions"}:
        raise UsageError(f"--kind {kind!r}", hint="items or interactions")
    configured, name = settings(), domain or "relations"
    path = cast(Path, relations or file)
    request = IngestRequest(
        path,
        "" if relations else domain or "",
        kind="relations" if relations else cast(Literal["items", "interactions"] | None, kind),
        format=format_,
        columns=_pairs(column or []),
        list_separator=list_separator,
        scale=_scale(scale) if scale is not None else None,
        event=event,
        user=user or "",
        add_items=add_items,
        keep=InteractionFilter(since=_seconds(since), sample=sample, min_interactions=min_interactions),
        strict=strict,
        rejects=rejects or _rejects_file(configured, name, path),
    )
    with open_store(configured) as store, counting_bar(f"{name}: {path.name}") as progress:
        reports = run(store, request, progress=progress)
        _index_new_items(configured, store, name, reports)
    _show(reports, request, json_=json_)


def _show(reports: Sequence[IngestReport], request: IngestRequest, *, json_: bool) -> None:
    """What became of a plain table; of a known format a line for each file, as JSON a list of reports."""
    from retrieval.ingest import RelationReport
    from retrieval.tabular import ROW_READERS

    first = reports[0]
    if isinstance(first, RelationReport) or first.format in ROW_READERS:
        if json_:
            print_json(first)
        else:
            _print(first)
        return
    if request.format is None:
        note = f"read as {first.format}; --format csv, jsonl … reads a plain table"
        typer.echo(f"{request.path}: {note}", err=True)
    if json_:
        print_json(reports)
        return
    for report in reports:
        _print(report, f"{report.file}, ")
    if reports[-1].rejects_file:
        typer.echo(f"all rejected rows: {reports[-1].rejects_file}", err=True)


def _print(report: IngestReport, file: str = "") -> None:
    """What became of a file's rows; `file` names it where there are several."""
    from retrieval.ingest import RelationReport
    from retrieval.templates import visible

    if isinstance(report, RelationReport):
        _print_relations(report)
    else:
        _print_rows(report, file)
    for reason, count in sorted(report.reasons.items(), key=lambda pair: -pair[1]):
        typer.echo(f"  {count:>7,}  {reason}", err=True)
    for problem in report.problems[:_PROBLEMS]:
        typer.echo(f"    line {problem.line}: {visible(problem.reason)}", err=True)
    if report.rejects_file and not file:
        typer.echo(f"  all of them: {report.rejects_file}", err=True)


def _print_rows(report: IngestReport, file: str) -> None:
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


def _print_relations(report: RelationReport) -> None:
    from retrieval.templates import visible

    typer.echo(
        f"relations: {report.rows:,} rows: {report.added:,} new, {report.unchanged:,} as they were,"
        f" {report.repeated:,} repeated, {report.labels:,} labels, {report.rejected:,} rejected"
    )
    for predicate, counts in list(report.predicates.items())[:_PREDICATES]:
        bad = f", {counts.rejected:,} rejected" if counts.rejected else ""
        typer.echo(f"  {visible(predicate)[:40]:24} {counts.added:>9,} new {counts.unchanged:>9,} as they were{bad}")
    if len(report.predicates) > _PREDICATES:
        typer.echo(f"  and {len(report.predicates) - _PREDICATES:,} predicates more: --json has them")
    if report.unlinked:
        typer.echo(
            f"  {report.unlinked:>7,}  relations name no known item, nor anything related to one: kept;"
            " ingest their catalogue, then this file again",
            err=True,
        )


def _index_new_items(configured: Settings, store: Store, domain: str, reports: Sequence[IngestReport]) -> None:
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


def _rejects_file(configured: Settings, domain: str, file: Path) -> Path:
    from urllib.parse import quote

    from xdrec_agent.app import rejects_folder

    # Any text may name a domain, not any text may name a file.
    path = rejects_folder(configured) / f"{quote(domain, safe=' ')}-{file.name}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        msg = f"{path.parent} cannot be made: {exc.strerror}"
        raise UsageError(msg, hint="name a folder that you may write: xdrec --home FOLDER …") from exc
    return path


def _pairs(pairs: Texts) -> dict[str, str]:
    columns = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not (field and equals and column):
            raise UsageError(f"--column {pair!r} is not FIELD=COLUMN", hint="for example --column creators=author")
        columns[field] = column
    return columns


def _scale(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as exc:
        raise UsageError(f"--scale {text!r} is not LOW:HIGH", hint="for example --scale 1:10") from exc
    return low, high


def _seconds(date: str | None) -> int | None:
    """Unix seconds of a date as it is typed, in UTC if it says nothing else."""
    if date is None:
        return None
    try:
        day = datetime.fromisoformat(date)
    except ValueError as exc:
        raise UsageError(f"--since {date!r} is not a date", hint="for example --since 2015-01-01") from exc
    return int((day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp())
