"""`xdrec adapt encoder`. Reads the store, trains an adapter of the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.adapt_list import print_adapter
from xdrec_agent.cli.context import settings
from xdrec_agent.cli.pairs import PairOption, WithoutOption, pairs_of


def encoder(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the adapter will be called.")],
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN", help="Learn from this catalogue's texts alone, without users; again for more."),
    ] = None,
    pair: PairOption = None,
    without: WithoutOption = None,
    users_file: Annotated[Path | None, typer.Option(help="Learn from these users only, one a line.")] = None,
    leave_out: Annotated[
        list[int] | None,
        typer.Option(
            "--folds", metavar="FOLD", help="Folds of users to leave out; again for more. Default: the test fold."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=1, help="Take fewer steps if they would last longer.")] = 60,
    epochs: Annotated[int, typer.Option(min=1, help="How often everything is seen.")] = 2,
    rank: Annotated[int, typer.Option(min=1, help="Of the low-rank matrices.")] = 32,
    layers: Annotated[int | None, typer.Option(min=1, help="Adapt the last ones only, which is faster.")] = None,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-4,
    batch: Annotated[int, typer.Option(min=2, help="Examples set against each other.")] = 256,
    hard: Annotated[
        int, typer.Option(min=0, help="Negatives for each example that look like what the person liked.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides order, negatives and first weights.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Forget an unfinished training of this name.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Train the encoder to carry taste: what people liked in one domain finds what they liked in another.

    A killed training goes on where it stopped when the same command is given again. `xdrec adapt use NAME` puts the
    result to use.

    \b
    Examples:
      xdrec adapt encoder taste
      xdrec adapt encoder taste --pair films:books --pair books:films --minutes 30
      xdrec adapt encoder reader --text books --text films
    """
    from retrieval.adapt import TEST_FOLD, EncoderShape, Plan, SetShape, WhoLearns
    from retrieval.templates import load_template
    from xdrec_agent.adapt import EncoderRunSettings, Place, train_taste, train_views
    from xdrec_agent.app import open_store
    from xdrec_agent.cli.training_progress import training_bar
    from xdrec_agent.models import library as models

    if text and (pair or without):
        raise UsageError("--text names the domains that are read", hint="leave --pair and --without out")
    configured = settings()
    place = Place(
        base_folder=models.find(configured.encoder.model, configured.models_dir),
        base_name=configured.encoder.model,
        adapters_dir=configured.adapters_dir,
        device=configured.device,
    )
    run = EncoderRunSettings(
        plan=Plan(epochs=epochs, groups=1, minutes=minutes, rate=rate, seed=seed),
        lora=EncoderShape(rank=rank, layers=layers),
        sets=SetShape(batch=batch, hard=hard),
        who=WhoLearns(users_file=users_file, left_out=tuple([TEST_FOLD] if leave_out is None else leave_out)),
    )
    template = load_template(configured.index.template)
    with open_store(configured, create=False) as store, training_bar(name) as report:
        if text:
            made = train_views(name, store, text, template, place, run, restart=restart, report=report)
        else:
            known = [summary.domain for summary in store.domains()]
            pairs = pairs_of(pair, without, known) if pair or without else []
            made = train_taste(name, store, pairs, template, place, run, restart=restart, report=report)
    if json_:
        typer.echo(made.model_dump_json(indent=2))
        return
    print_adapter(made, place.adapters_dir / name)
