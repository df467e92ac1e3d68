"""`xdrec ingest`, `index` and `domains`. Reads files into the store and brings the indexes up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import settings

if TYPE_CHECKING:
    from xdrec_agent.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
        typer.Option("--format", help="csv, jsonl, parquet, or one of docs/formats.md; default: seen from the file."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="A column that has another name; again for more.")
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
    from xdrec_agent.cli.ingesting import index_new, show_reports, since_seconds
    from xdrec_agent.cli.progress import counting_bar

    if relations is not None and domain is None:
        from xdrec_agent.cli.relations import ingest_relations

        kept = rejects or _kept_rejects(settings(), "relations", relations)
        pairs = _pairs(column or [])
        ingest_relations(relations, format_=format_, columns=pairs, strict=strict, rejects=kept, json_=json_)
        return
    if domain is None or file is None or relations is not None:
        hint = "xdrec ingest DOMAIN FILE, or xdrec ingest --relations FILE"
        raise UsageError("give a domain with a file, or relations alone", hint=hint)
    if kind not in {None, "items", "interactions"}:
        raise UsageError(f"--kind {kind!r}", hint="items or interactions")
    configured = settings()
    request = IngestRequest(
        file,
        domain,
        kind=cast(Literal["items", "interactions"] | None, kind),
        format=format_,
        columns=_pairs(column or []),
        list_separator=list_separator,
        scale=_scale(scale) if scale is not None else None,
        event=event,
        user=user or "",
        add_items=add_items,
        keep=InteractionFilter(since=since_seconds(since), sample=sample, min_interactions=min_interactions),
        strict=strict,
        rejects=rejects or _kept_rejects(configured, domain, file),
    )
    with open_store(configured) as store, counting_bar() as bar:
        task = bar.add_task(f"{domain}: {file.name}", total=None)
        reports = run(store, request, progress=lambda done: bar.update(task, completed=done))
        index_new(configured, store, domain, reports)
    show_reports(reports, request, json_=json_)


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

    from xdrec_agent.app import open_index, open_store
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

    from xdrec_agent.app import index_states, open_store

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

    from xdrec_agent.app import rejects_folder

    # Any text may name a domain, not any text may name a file.
    place = rejects_folder(configured) / f"{quote(domain, safe=' ')}-{file.name}.jsonl"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        msg = f"{place.parent} cannot be made: {exc.strerror}"
        raise UsageError(msg, hint="name a folder that you may write: xdrec --home FOLDER …") from exc
    return place


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
