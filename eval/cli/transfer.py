"""`xdrec-eval transfer`. Reads the data and runs of rerankers, produces the matrix source x target."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.context import AsJSON, DataFolder, prepared, say, show


def transfer(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="For runs and report; a stopped measurement goes on.")],
    data: DataFolder,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Adapt the encoder's last ones only, which is faster. Default: all.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 2,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = 1e-4,
    minutes: Annotated[float | None, typer.Option(min=1, help="Of each training, at most.")] = 60,
    left_out_folds: Annotated[
        int,
        typer.Option(
            min=0,
            max=5,
            help="Measure left-out pairs on so many folds of users (a training a pair and fold); 0: do not.",
        ),
    ] = 2,
    users: Annotated[int, typer.Option(min=10, help="Users, by hash; all their directions.")] = 1008,
    rerank: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="A run of a reranker; the first is what the others are compared with."),
    ] = None,
    json_: AsJSON = False,
) -> None:
    """Where transfer helps and where it hurts: encoders by what they learnt from, for each pair of domains.

    \b
    Trains an encoder on the catalogues, one on all pairs for each fold of users, and one without each pair; hours on a
    CPU. Rerankers that learnt are measured by `xdrec-eval run` and shown beside it.
    Examples:
      XDREC_ENCODER__MODEL=all-MiniLM-L6-v2 xdrec-eval transfer build/transfer --data ../data --layers 2
      xdrec-eval transfer build/transfer --data ../data --rerank runs/untuned --rerank runs/adapted
    """
    import numpy as np

    from eval.data import data_hash
    from eval.report import transfer_page, transfer_result
    from eval.runs import RunFolder
    from eval.studies import Encoders, TransferRequest, run_arms, run_fused
    from retrieval.adapt import EncoderShape, Plan
    from retrieval.errors import UsageError
    from retrieval.templates import load_template
    from xdrec_agent.adapt import EncoderRunSettings, Place
    from xdrec_agent.models import library as models
    from xdrec_agent.settings import load_settings

    configured = load_settings()
    reranked = [RunFolder.open(folder) for folder in rerank or ()]
    with prepared(data, configured) as dataset:
        if dataset.training_users:
            raise UsageError(
                f"{configured.encoder.model} has learnt from these people already",
                hint="begin with one that has not: XDREC_ENCODER__MODEL=all-MiniLM-L6-v2",
            )
        model = configured.encoder.model
        folder = models.find(model, configured.models_dir)
        place = Place(folder, model, out / "encoders", configured.device)
        plan = Plan(epochs=epochs, groups=1, minutes=minutes, rate=rate)
        training = EncoderRunSettings(plan=plan, lora=EncoderShape(layers=layers))
        encoders = Encoders(dataset, place, load_template("item"), training, say)
        request = TransferRequest(out, users, left_out_folds)
        retrieved = run_arms(encoders, request, configured, data_hash(data))
        fused = run_fused(encoders, request, configured, data_hash(data))
    page = transfer_page(transfer_result(retrieved, fused, reranked, np.random.default_rng(0)))
    show(page, as_json=json_, out=out)
