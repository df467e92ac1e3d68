"""`xdrec-eval bias`, `attacks`, `facets`, `transfer` and `chat`. Read data and models, produce results of studies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from eval.cli.context import Bench, judges_of, prepared, pulled_encoder, say, show, with_model
from eval.cli.options import Assignments, CandidateKind, DataFolder, Judges
from retrieval.errors import UsageError
from xdrec_agent.cli.context import print_json
from xdrec_agent.cli.options import Json

if TYPE_CHECKING:
    from eval.runs import Comparison
    from eval.studies import AttackReport, BiasCard


def bias(
    data: DataFolder,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Write report.html, report.md and report.json here.")],
    users: Annotated[int, typer.Option(min=10, help="Users, one list each.")] = 40,
    shuffles: Annotated[int, typer.Option(min=2, help="Orders that each list is shown in.")] = 8,
    candidates: Annotated[
        CandidateKind, typer.Option(help="count-matched takes popularity out of the game.")
    ] = "count-matched",
    set_: Assignments = None,
    json_: Json = False,
) -> None:
    """What the running model's ranking leans on besides the items: place, popularity, titles; one page.

    \b
    Examples:
      xdrec-eval bias --data ../data --out cards/small
      xdrec-eval bias --data ../data --out cards/mine --set rerank.template=mine.jinja --users 100
      xdrec-eval bias --data ../data --out cards/popular --candidates retrieved
    """
    from eval.data import plan_cases, rerank_tasks
    from eval.report import bias_page, write_page
    from eval.runs import arm_settings
    from eval.studies import bias_card, title_log_probabilities

    async def card(bench: Bench) -> BiasCard:
        chosen = rerank_tasks(plan_cases(bench.dataset), users, kind=candidates)
        counts = [task.counts.astype(float) for task in chosen]
        shown = [[candidate.item for candidate in task.ranking.candidates] for task in chosen]
        known = await title_log_probabilities(bench.context.model, shown, bench.say)
        # Among count-matched candidates popularity tells no title from another.
        fallback = counts if candidates == "retrieved" else None
        return await bias_card(
            bench.context,
            chosen,
            shuffles,
            bench.say,
            counts=counts,
            familiarity=fallback if known is None else known,
            familiarity_by="popularity" if known is None else "log-probability",
        )

    found = with_model(data, card, arm_settings(set_ or []))
    page = bias_page(found)
    written = write_page(page, out)
    typer.echo(page.json if json_ else f"{page.verdict}\n{written}")


def attacks(
    data: DataFolder,
    users: Annotated[int, typer.Option(min=2, help="Users, one list of 20 each, attacked by every text.")] = 4,
    judge: Judges = None,
    set_: Assignments = None,
    json_: Json = False,
) -> None:
    """How many places an item gains by a hostile text: orders to the model, fake turns, label spoofing, Unicode tricks.

    \b
    Each list is judged as it is, with the hostile text in an item that is not the liked one, and with as many harmless
    words in its place. Replies are kept: a stopped run goes on where it was.
    Examples:
      xdrec-eval attacks --data ../data
      xdrec-eval attacks --data ../data --users 20 --judge pointwise-logprob --json
      xdrec-eval attacks --data ../data --set rerank.template=mine.jinja --judge listwise-logprob
    """
    from eval.data import plan_cases, rerank_tasks
    from eval.runs import arm_settings
    from eval.studies import attack_report, print_attacks

    chosen = judges_of(judge)

    async def report(bench: Bench) -> AttackReport:
        return await attack_report(bench.context, chosen, rerank_tasks(plan_cases(bench.dataset), users), bench.say)

    gains = with_model(data, report, arm_settings(set_ or []))
    print_json(gains) if json_ else print_attacks(gains, Console(highlight=False))


def facets(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the two runs go; a stopped comparison goes on.")],
    users: Annotated[int, typer.Option(min=10, help="Users, by hash, each with all their directions.")] = 1008,
    set_: Assignments = None,
    json_: Json = False,
) -> None:
    """Do the facets of `xdrec enrich` help? Two indexes, without and with them, asked by the same people.

    Works on the configured home (XDREC_HOME). Afterwards `xdrec-eval ab FOLDER/plain FOLDER/facets` tells more.

    \b
    Examples:
      xdrec-eval facets runs/enriched
      xdrec-eval facets runs/enriched --users 300 --set retriever.popularity=0
    """
    import numpy as np

    from eval.report import ab_page
    from eval.runs import arm_settings, compare_runs
    from eval.studies import METRIC, FacetStudy
    from xdrec_agent.app import open_facets, open_store

    settings = arm_settings(set_ or [])
    with open_store(settings, create=False) as store, open_facets(settings) as kept:
        runs = FacetStudy(store, kept, pulled_encoder(settings), settings, users).run(out, say)
    found = compare_runs(runs, [METRIC], np.random.default_rng(0))
    show(ab_page(found), as_json=json_)
    say(_advice(found.comparisons[0]))


def _advice(decisive: Comparison) -> str:
    """What to set: facets only where they are shown to help."""
    found = decisive.difference
    low = found.mean if found.constant else found.low
    if low is not None and low > 0:
        return "facets help: encoder.facets = true, then xdrec index --rebuild"
    return "facets are not shown to help: leave encoder.facets = false"


def transfer(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="For runs and report; a stopped measurement goes on.")],
    data: DataFolder,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Adapt the encoder's last ones only, which is faster. Default: all.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="Of the optimizer, at its highest.")] = 1e-4,
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
    json_: Json = False,
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

    from eval.report import transfer_page
    from eval.runs import RunFolder
    from eval.studies import TrainedEncoders, TransferStudy, transfer_result
    from retrieval.adapt import EncoderLoraSettings, TrainingPlan
    from retrieval.templates import load_template
    from xdrec_agent.adapt import EncoderTrainingSettings, Workspace
    from xdrec_agent.models import find_model
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
        folder = find_model(model, configured.models_dir)
        workspace = Workspace(folder, model, out / "encoders", configured.device)
        plan = TrainingPlan(epochs=epochs, accumulation=1, minutes=minutes, learning_rate=learning_rate)
        training = EncoderTrainingSettings(plan=plan, lora=EncoderLoraSettings(layers=layers))
        encoders = TrainedEncoders(dataset, workspace, load_template("item"), training, say)
        study = TransferStudy(encoders, configured, out, users, left_out_folds)
        retrieved, fused = study.run_arms(), study.run_fused()
    page = transfer_page(transfer_result(retrieved, fused, reranked, np.random.default_rng(0)))
    show(page, as_json=json_, out=out)


def chat(
    pack: Annotated[Path, typer.Option(help="The pack that the dialogues speak of.")] = Path("examples/films-books"),
    model: Annotated[bool, typer.Option("--model", help="Also with the configured model.")] = False,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the results there, and show those that it holds of other models, too."),
    ] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Show the turns that were read wrongly.")] = False,
    json_: Json = False,
) -> None:
    """How often a dialogue's state is right after a turn, by kind of turn: the rules alone, and with each model.

    \b
    A stopped run with a model goes on where it was, by the response cache.
    Examples:
      xdrec-eval chat
      xdrec-eval chat --model --failures
      XDREC_LLM__MODEL=qwen2.5-coder-1.5b-instruct xdrec-eval chat --model --results build/bench/chat.json
    """
    import asyncio

    from eval.studies import load_results, measure_dialogues, merge_results, print_dialogues, save_results
    from xdrec_agent.cli.context import settings

    before = load_results(results) if results else ()
    found = merge_results(before, asyncio.run(measure_dialogues(pack, settings() if model else None, say)))
    if results:
        save_results(results, found)
    if json_:
        print_json([one.summary() for one in found])
    else:
        print_dialogues(found, Console(highlight=False), failures=failures)
