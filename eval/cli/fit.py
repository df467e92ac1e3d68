"""`xdrec-eval fit`. Reads validation users, produces fitted values for the home folder."""

from __future__ import annotations

from typing import Annotated

import typer

from eval.cli.context import Bench, judges_of, prepared, say, with_model
from eval.cli.options import DataFolder, Judges
from xdrec_agent.cli.context import print_json

app = typer.Typer(help="What is fitted on validation users.", no_args_is_help=True)


@app.command()
def rerank(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=20, help="Validation users, one case each.")] = 800,
    judge: Judges = None,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the fits in the home folder, for its recommendations.")
    ] = False,
) -> None:
    """Fit what the running model's judgements are worth: weight in `hybrid`, position bias, confidence.

    \b
    Replies are kept: a stopped run goes on where it was, and `bench rerank` asks for the same ones.
    Example:
      xdrec-eval fit rerank --data ../data/amazon-three-domains --users 800 --write
    """
    from eval.fitting import fit_judges
    from xdrec_agent.rerank import RerankFit, save_fits
    from xdrec_agent.settings import load_settings

    judges, how = judges_of(judge), f"xdrec-eval fit rerank --users {users}"

    async def run(bench: Bench) -> tuple[RerankFit, ...]:
        return await fit_judges(bench.context, bench.dataset, judges, users, how, bench.say)

    found = with_model(data, run)
    print_json(found)
    if write:
        say(f"written to {save_fits(found, load_settings().fits_dir)}")


@app.command()
def fusion(
    data: DataFolder,
    write: Annotated[
        bool, typer.Option("--write", help="Keep the weights in the home folder, for its recommendations.")
    ] = False,
) -> None:
    """Fit how much each source of the retriever has to say. Needs no language model; minutes.

    \b
    Example:
      xdrec-eval fit fusion --data ../data/amazon-three-domains --write
    """
    import numpy as np

    from eval.fitting import fit_weights
    from retrieval.ranking import save_fusion
    from xdrec_agent.settings import load_settings

    settings = load_settings()
    with prepared(data, settings) as dataset:
        found = fit_weights(dataset, "xdrec-eval fit fusion", np.random.default_rng(0), say)
    print_json(found)
    if write:
        say(f"written to {save_fusion(found, settings.fits_dir)}")
