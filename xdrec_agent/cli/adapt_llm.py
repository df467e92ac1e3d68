"""`xdrec adapt llm`. Reads the store, trains an adapter of the language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.adapt_list import print_adapter
from xdrec_agent.cli.context import settings
from xdrec_agent.cli.pairs import PairOption, WithoutOption, pairs_of

if TYPE_CHECKING:
    from xdrec_agent.adapt import Judged, RunSettings


def llm(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the adapter will be called.")],
    text: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Go on with pretraining on this domain's item texts instead.")
    ] = None,
    judge: Annotated[
        str, typer.Option(help="Which of the reranker's judges to train: pointwise-logprob or listwise-logprob.")
    ] = "pointwise-logprob",
    pair: PairOption = None,
    without: WithoutOption = None,
    users_file: Annotated[Path | None, typer.Option(help="Learn from these users only, one a line.")] = None,
    leave_out: Annotated[
        list[int] | None,
        typer.Option(
            "--folds", metavar="FOLD", help="Folds of users to leave out; again for more. Default: the test fold."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=1, help="Take fewer steps if they would last longer.")] = 150,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps at most. Default: each history once.")] = None,
    rank: Annotated[int, typer.Option(min=1, help="Of the low-rank matrices.")] = 16,
    layers: Annotated[int | None, typer.Option(min=1, help="Adapt the last ones only, which is faster.")] = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Decides order, negatives and first weights.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an unfinished training of this name.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Train the language model to rerank: which of these will somebody like who liked those.

    A killed training goes on where it stopped when the same command is given again.

    \b
    Examples:
      xdrec adapt llm taste
      xdrec adapt llm chooser --judge listwise-logprob
      xdrec adapt llm taste --pair films:books --pair books:films --minutes 60
      xdrec adapt llm transfer --without books
      xdrec adapt llm reader --text books
    """
    from retrieval.templates import load_template
    from xdrec_agent.adapt import Place, train_lists, train_texts
    from xdrec_agent.app import load_templates, open_store
    from xdrec_agent.cli.training_progress import training_bar
    from xdrec_agent.models import library as models
    from xdrec_agent.rerank import TASK_OF

    configured = settings()
    place = Place(
        base_folder=models.find(configured.llm.model, configured.models_dir),
        base_name=configured.llm.model,
        adapters_dir=configured.adapters_dir,
        device=configured.device,
    )
    chosen = _judge(judge)
    run = _run_settings(chosen, users_file, leave_out, minutes, steps, rank, layers, rate, seed)
    with open_store(configured, create=False) as store, training_bar(name) as report:
        if text is not None:
            made = train_texts(name, store, text, load_template("item"), place, run, restart=restart, report=report)
        else:
            pairs = pairs_of(pair, without, [summary.domain for summary in store.domains()])
            template = load_templates(configured)[TASK_OF[chosen]]
            made = train_lists(name, store, chosen, template, place, run, pairs, restart=restart, report=report)
    if json_:
        typer.echo(made.model_dump_json(indent=2))
        return
    print_adapter(made, place.adapters_dir / name)


def _judge(name: str) -> Judged:
    from xdrec_agent.adapt import SHAPES

    found = next((judge for judge in SHAPES if judge == name), None)
    if found is None:
        raise UsageError(f"no judge {name!r} can be trained", hint=f"--judge is one of: {', '.join(SHAPES)}")
    return found


def _run_settings(
    judge: Judged,
    users_file: Path | None,
    leave_out: list[int] | None,
    minutes: float | None,
    steps: int | None,
    rank: int,
    layers: int | None,
    rate: float,
    seed: int,
) -> RunSettings:
    from retrieval.adapt import TEST_FOLD, Plan, WhoLearns
    from xdrec_agent.adapt import SHAPES, RunSettings
    from xdrec_agent.models import LoraShape

    return RunSettings(
        # A validation takes as long as fifteen steps on two cores.
        plan=Plan(steps=steps, minutes=minutes, rate=rate, validations=5, seed=seed),
        lora=LoraShape(rank=rank, layers=layers),
        lists=SHAPES[judge],
        who=WhoLearns(users_file=users_file, left_out=tuple([TEST_FOLD] if leave_out is None else leave_out)),
    )
