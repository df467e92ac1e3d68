"""`xdrec-eval explain`, `judge`, `labels`. Read explanations, produce what the check, an LLM and people say of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from eval.cli.context import say, show
from eval.cli.options import Assignments, ComparedPart, ReportFolder, StatisticsSeed
from retrieval.errors import UsageError
from xdrec_agent.cli.context import print_json
from xdrec_agent.cli.options import Json, Language, Style, Target

if TYPE_CHECKING:
    from eval.studies import Agreement, JudgeResult, LabelReport
    from xdrec_agent.settings import Settings


def explain(
    source: Annotated[str, typer.Option("--from", metavar="DOMAIN", help="Source domain.")] = "films",
    target: Target = "books",
    count: Annotated[int, typer.Option(min=1, help="At least so many explanations.")] = 200,
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="Recommendations a person.")] = 3,
    lang: Language = None,
    style: Style = None,
    seed: Annotated[int, typer.Option(help="Of the sets of likes.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the explanations here, as JSONL.")] = None,
    set_: Assignments = None,
    json_: Json = False,
) -> None:
    """How explanations fare: claims supported, where they come from, how alike they are, language, time.

    \b
    With the configured model, with its kept replies (llm.cache=only), or without a server: from the facts alone.
    Examples:
      xdrec demo examples/films-books && xdrec-eval explain
      xdrec-eval explain --lang zh --out build/explanations-zh.jsonl
      xdrec-eval explain --set explain.freedom=pattern --json
    """
    import asyncio

    from eval.runs import arm_settings
    from eval.studies import measure_explanations, print_explanations

    chosen = {"explain.language": lang, "explain.style": style}
    given = [f"{name}={value}" for name, value in chosen.items() if value is not None]
    found = asyncio.run(
        measure_explanations(arm_settings([*(set_ or []), *given]), source, target, count, k, seed, out, say)
    )
    if json_:
        print_json(found)
    else:
        print_explanations(found, Console(highlight=False))


def judge(
    a: Annotated[Path, typer.Argument(metavar="A", help="What `xdrec-eval explain --out` wrote.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same people, explained by another arm.")],
    what: Annotated[
        ComparedPart, typer.Option(help="explanations: reasons for the same item; answers: a person's whole list.")
    ] = "explanations",
    template: Annotated[str, typer.Option(help="Of the judge: a shipped template's name or a file.")] = "compare",
    set_: Assignments = None,
    out: ReportFolder = None,
    seed: StatisticsSeed = 0,
    json_: Json = False,
) -> None:
    """Which of two arms' explanations or answers does an LLM judge prefer? Each pair is judged twice, places swapped.

    \b
    The judge is the configured model; it should not be one that wrote what it judges. Replies are kept: a stopped run
    goes on where it was.
    Examples:
      xdrec-eval explain --style short --out a.jsonl
      xdrec-eval explain --style detailed --out b.jsonl
      xdrec-eval judge a.jsonl b.jsonl --set llm.base_url=http://127.0.0.1:9000/v1 --out report
      xdrec-eval judge a.jsonl b.jsonl --what answers
    """
    import asyncio

    from eval.report import judge_page
    from eval.runs import arm_settings

    found = asyncio.run(_judged(a, b, what, template, arm_settings(set_ or []).patient(), seed))
    show(judge_page(found), as_json=json_, out=out)


async def _judged(a: Path, b: Path, what: ComparedPart, template: str, settings: Settings, seed: int) -> JudgeResult:
    import numpy as np

    from eval.studies import judge_pairs, judge_result, pairs_of, read_explained
    from retrieval.templates import load_template
    from xdrec_agent.app import open_client

    loaded = load_template(template)
    if loaded.task != "compare":
        raise UsageError(f"{template} is a template for {loaded.task}", hint="give one whose task is compare")
    asked = pairs_of(read_explained(a), read_explained(b), what)
    names = (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))
    async with open_client(settings) as client:
        found, failed = await judge_pairs(client, loaded, asked, say)
        model = client.endpoint.model
    rng = np.random.default_rng(seed)
    return judge_result(found, failed, names, what, (model, loaded.fingerprint), rng)


def labels(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Sheet and labels; without it those in the repository.")
    ] = None,
    make: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add what `explain --out` wrote there to FOLDER's sheet, and stop."),
    ] = None,
    model: Annotated[str, typer.Option(help="Who wrote what --make adds.")] = "",
    json_: Json = False,
) -> None:
    """How much of what explanations say nothing bears out, by people who labelled them without seeing the check.

    \b
    How to label: eval/studies/labels/README.md. Examples:
      xdrec-eval labels
      xdrec-eval explain --out build/reasons.jsonl
      xdrec-eval labels build/labels --make build/reasons.jsonl --model smollm2-135m-instruct
      xdrec-eval labels build/labels --json
    """
    from eval.studies import (
        FOLDER,
        SHEET,
        agreements,
        label_report,
        read_explained,
        read_labels,
        read_sheet,
        write_sheet,
    )

    where = folder or FOLDER
    if make is not None:
        if folder is None or not model:
            hint = f"xdrec-eval labels build/labels --make {make} --model NAME"
            raise UsageError("--make needs a folder and --model", hint=hint)
        say(f"{write_sheet(read_explained(make), model, folder)} explanations in {folder / SHEET}")
        return
    sheet = read_sheet(where)
    reports = [label_report(name, sheet, found) for name, found in read_labels(where).items()]
    agreed = agreements(reports)
    if json_:
        print_json({"labellers": reports, "agreement": agreed})
    else:
        _print(reports, agreed, Console(highlight=False))


def _print(reports: list[LabelReport], agreed: list[Agreement], console: Console) -> None:
    from rich.table import Table

    table = Table(
        "labeller", "explanations", "claims", "unsupported", "explanations with any", "plot, mood or praise", box=None
    )
    for one in reports:
        shares = [
            f"{v:.2%} [{low:.2%}, {high:.2%}]"
            for v, low, high in (one.unsupported, one.explanations_unsupported, one.statements)
        ]
        table.add_row(one.labeller, str(one.explanations), str(one.claims), *shares)
    console.print(table)
    for two in agreed:
        kappa = "" if two.kappa is None else f", kappa {two.kappa:.2f}"
        console.print(f"{' and '.join(two.labellers)}: the same of {two.same:.1%} of the explanations{kappa}")
    for one in reports:
        for id_, claims in one.objected.items():
            for claim in claims:
                console.print(f"{one.labeller}, {id_}: {claim}", style="dim", markup=False)
