"""`xdrec ingest`, `index` and `domains`. Reads files into the store and brings the indexes up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import settings

if TYPE_CHECKING:
    from retrieval.ingest import IngestReport
    from xdrec_agent.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def ingest(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Whose items or interactions they are.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSONL (both also .gz) or Parquet.")],
    kind: Annotated[str | None, typer.Option(help="items or interactions; default: seen from the columns.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="Default: by the file's suffix.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="A column that has another name; again for more.")
    ] = None,
    list_separator: Annotated[str, typer.Option(help="Between the parts of a list in one text.")] = "|",
    scale: Annotated[str, typer.Option(metavar="LOW:HIGH", help="The file's rating scale.")] = "1:5",
    event: Annotated[str, typer.Option(help="Kind of interactions without a kind column.")] = "rating",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="File for bad rows; default: in the home folder.")] = None,
    json_: Json = False,
) -> None:
    """Read items or interactions from a file into the store; safe to run again.

    \b
    Examples:
      xdrec ingest films films.csv
      xdrec ingest books books.jsonl.gz --column creators=author --strict
      xdrec ingest films ratings.csv --scale 1:10
      xdrec ingest music plays.parquet --event play
    """
    from retrieval.ingest import ingest as run
    from xdrec_agent.assembly import open_store
    from xdrec_agent.cli.progress import counting_bar

    if kind not in {None, "items", "interactions"}:
        raise UsageError(f"--kind {kind!r}", hint="items or interactions")
    configured = settings()
    refused = rejects or _kept_rejects(configured, domain, file)
    with open_store(configured) as store, counting_bar() as bar:
        task = bar.add_task(f"{domain}: {file.name}", total=None)
        report = run(
            store,
            domain,
            file,
            kind=cast(Literal["items", "interactions"] | None, kind),
            format=format_,
            columns=_pairs(column or []),
            list_separator=list_separator,
            scale=_scale(scale),
            event=event,
            strict=strict,
            rejects=refused,
            progress=lambda done: bar.update(task, completed=done),
        )
    if json_:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _print(report)


def index(
    domain: Annotated[list[str] | None, typer.Argument(metavar="DOMAIN…", help="Default: all in the store.")] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Start anew, with the configured encoder.")] = False,
    json_: Json = False,
) -> None:
    """Embed what is new or changed; a killed run goes on where it stopped.

    \b
    Examples:
      xdrec index
      xdrec index books --rebuild
    """
    import json

    from xdrec_agent.assembly import open_index, open_store
    from xdrec_agent.cli.progress import counting_bar

    configured = settings()
    reports = []
    with open_store(configured, create=False) as store:
        names = domain or [summary.domain for summary in store.domains()]
        if not names:
            raise UsageError("the store has no domains", hint="xdrec ingest DOMAIN FILE")
        built = open_index(configured)
        for name in names:
            with counting_bar() as bar:
                task = bar.add_task(f"{name}: embedding", total=None)
                report = built.build(
                    store,
                    name,
                    rebuild=rebuild,
                    progress=lambda done, total: bar.update(task, completed=done, total=total),  # noqa: B023
                )
            reports.append(report)
            if not json_:
                kept = report.items - report.embedded
                typer.echo(
                    f"{name}: {report.items} items, {report.embedded} embedded, {kept} as they were,"
                    f" {report.deleted} deleted, {report.total_s:.1f} s"
                )
    if json_:
        typer.echo(json.dumps([r.model_dump() for r in reports], indent=2))


def domains(json_: Json = False) -> None:
    """The domains in the store, their sizes, and whether their indexes are current.

    \b
    Examples:
      xdrec domains
      xdrec domains --json
    """
    import json

    from xdrec_agent.assembly import open_store
    from xdrec_agent.index_state import index_states

    configured = settings()
    with open_store(configured, create=False) as store:
        found = store.domains()
    states = index_states(configured, found)
    if json_:
        rows = [d.model_dump() | {"index": s.state} for d, s in zip(found, states, strict=True)]
        typer.echo(json.dumps(rows, indent=2))
        return
    for d, s in zip(found, states, strict=True):
        size = f"{d.items:>9,} items {d.interactions:>10,} interactions {d.users:>8,} users"
        typer.echo(f"{d.domain:20} {size}  index {s.state}" + (f" → {s.next}" if s.next else ""))
    if not found:
        typer.echo("no domains yet → xdrec ingest DOMAIN FILE", err=True)


def _kept_rejects(configured: Settings, domain: str, file: Path) -> Path:
    from urllib.parse import quote

    from xdrec_agent.personal_data import rejects_folder

    # Any text may name a domain, not any text may name a file.
    place = rejects_folder(configured) / f"{quote(domain, safe=' ')}-{file.name}.jsonl"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        msg = f"{place.parent} cannot be made: {exc.strerror}"
        raise UsageError(msg, hint="name a folder that you may write: xdrec --home FOLDER …") from exc
    return place


def _print(report: IngestReport) -> None:
    typer.echo(
        f"{report.domain}: {report.rows:,} rows of {report.kind}: {report.added:,} new, {report.updated:,} changed,"
        f" {report.unchanged:,} as they were, {report.rejected:,} rejected"
    )
    if report.attributes:
        typer.echo(f"attributes: {', '.join(report.attributes)}")
    for reason, count in sorted(report.reasons.items(), key=lambda pair: -pair[1]):
        typer.echo(f"  {count:>7,}  {reason}", err=True)
    for problem in report.problems[:5]:
        typer.echo(f"    line {problem.line}: {problem.reason}", err=True)
    if report.rejects_file:
        typer.echo(f"  all of them: {report.rejects_file}", err=True)


def _pairs(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not (field and equals and column):
            raise UsageError(f"--column {pair!r} is not FIELD=COLUMN", hint="for example --column creators=author")
        found[field] = column
    return found


def _scale(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError as exc:
        raise UsageError(f"--scale {text!r} is not LOW:HIGH", hint="for example --scale 1:10") from exc
    return low, high
