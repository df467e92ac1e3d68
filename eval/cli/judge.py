"""`xdrec-eval judge`. Reads two files of explanations and a judge, produces which is preferred."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.context import AsJSON, Assignments, say, show
from retrieval.errors import UsageError

if TYPE_CHECKING:
    from eval.studies import JudgeResult, What
    from xdrec_agent.settings import Settings


def judge(
    a: Annotated[Path, typer.Argument(metavar="A", help="What `xdrec-eval explain --out` wrote.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The same people, explained by another arm.")],
    what: Annotated[
        str, typer.Option(help="explanations: reasons for the same item; answers: a person's whole list.")
    ] = "explanations",
    template: Annotated[str, typer.Option(help="Of the judge: a shipped template's name or a file.")] = "compare",
    set_: Assignments = None,
    out: Annotated[Path | None, typer.Option(help="Write report.html, report.md and report.json here.")] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and the sign flips.")] = 0,
    json_: AsJSON = False,
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


async def _judged(a: Path, b: Path, what: str, template: str, settings: Settings, seed: int) -> JudgeResult:
    import numpy as np

    from eval.studies import judged, pairs, read_explained, verdict_of
    from retrieval.templates import load_template
    from xdrec_agent.app import open_client

    wanted = _what(what)
    loaded = load_template(template)
    if loaded.task != "compare":
        raise UsageError(f"{template} is a template for {loaded.task}", hint="give one whose task is compare")
    asked = pairs(read_explained(a), read_explained(b), wanted)
    names = (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))
    async with open_client(settings) as client:
        found, failed = await judged(client, loaded, asked, say)
        model = client.endpoint.model
    rng = np.random.default_rng(seed)
    return verdict_of(found, failed, names, wanted, (model, loaded.fingerprint), rng)


def _what(given: str) -> What:
    if given == "explanations":
        return "explanations"
    if given == "answers":
        return "answers"
    raise UsageError(f"--what {given!r} is not known", hint="one of: explanations, answers")
