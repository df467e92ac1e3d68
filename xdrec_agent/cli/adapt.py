"""`xdrec adapt`. Trains adapters of the models, lists them and puts them to use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.errors import UsageError
from xdrec_agent.cli.context import diagnostics, settings
from xdrec_agent.cli.options import (
    Folds,
    Layers,
    LearningRate,
    Minutes,
    Name,
    Pairs,
    Rank,
    Restart,
    Seed,
    UsersFile,
    Without,
)
from xdrec_agent.cli.progress import training_bar

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.adapt import SplitSettings
    from xdrec_agent.adapt import Workspace
    from xdrec_agent.models import AdapterManifest
    from xdrec_agent.settings import Settings

app = typer.Typer(help="Adapt the models to your domains.", no_args_is_help=True)

ManifestJson = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]


@app.command()
def encoder(
    name: Name,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="DOMAIN", help="Learn from this catalogue's texts alone, without users; again for more."),
    ] = None,
    pair: Pairs = None,
    without: Without = None,
    users_file: UsersFile = None,
    folds: Folds = None,
    minutes: Minutes = 60,
    epochs: Annotated[int, typer.Option(min=1, help="How often everything is seen.")] = 2,
    rank: Rank = 32,
    layers: Layers = None,
    learning_rate: LearningRate = 1e-4,
    batch: Annotated[int, typer.Option(min=2, help="Examples whose positives are each other's negatives.")] = 256,
    hard_negatives: Annotated[
        int, typer.Option(min=0, help="Negatives for each example that look like what the user liked.")
    ] = 0,
    seed: Seed = 0,
    restart: Restart = False,
    json_: ManifestJson = False,
) -> None:
    """Train the encoder to carry taste: what users liked in one domain finds what they liked in another.

    A killed training goes on where it stopped when the same command is given again. `xdrec adapt use NAME` puts the
    result to use.

    \b
    Examples:
      xdrec adapt encoder taste
      xdrec adapt encoder taste --pair films:books --pair books:films --minutes 30
      xdrec adapt encoder reader --text books --text films
    """
    from retrieval.adapt import ContrastiveSettings, EncoderLoraSettings, TrainingPlan
    from retrieval.templates import load_template
    from xdrec_agent.adapt import EncoderTrainingSettings, train_on_item_views, train_on_preferences
    from xdrec_agent.app import open_store

    if text and (pair or without):
        raise UsageError("--text names the domains that are read", hint="leave --pair and --without out")
    configured = settings()
    workspace = _workspace(configured, configured.encoder.model)
    run = EncoderTrainingSettings(
        plan=TrainingPlan(epochs=epochs, accumulation=1, minutes=minutes, learning_rate=learning_rate, seed=seed),
        lora=EncoderLoraSettings(rank=rank, layers=layers),
        contrastive=ContrastiveSettings(batch=batch, hard_negatives=hard_negatives),
        users=split_settings(users_file, folds),
    )
    template = load_template(configured.index.template)
    with open_store(configured, create=False) as store, training_bar(name) as report:
        if text:
            made = train_on_item_views(name, store, text, template, workspace, run, restart=restart, report=report)
        else:
            known = [summary.domain for summary in store.domains()]
            pairs = parse_pairs(pair, without, known) if pair or without else []
            made = train_on_preferences(name, store, pairs, template, workspace, run, restart=restart, report=report)
    _print_adapter(made, workspace.adapters_dir / name, as_json=json_)


@app.command()
def llm(
    name: Name,
    text: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Go on with pretraining on this domain's item texts instead.")
    ] = None,
    judge: Annotated[
        str, typer.Option(help="Which of the reranker's judges to train: pointwise-logprob or listwise-logprob.")
    ] = "pointwise-logprob",
    pair: Pairs = None,
    without: Without = None,
    users_file: UsersFile = None,
    folds: Folds = None,
    minutes: Minutes = 150,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps at most. Default: each history once.")] = None,
    rank: Rank = 16,
    layers: Layers = None,
    learning_rate: LearningRate = 5e-4,
    seed: Seed = 0,
    restart: Restart = False,
    json_: ManifestJson = False,
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
    from retrieval.adapt import TrainingPlan
    from retrieval.templates import load_template
    from xdrec_agent.adapt import LIST_SETTINGS, LLMTrainingSettings, LoraSettings, train_judge, train_on_texts
    from xdrec_agent.app import load_templates, open_store
    from xdrec_agent.rerank import TASK_OF

    configured = settings()
    workspace = _workspace(configured, configured.llm.model)
    trained_judge = next((known for known in LIST_SETTINGS if known == judge), None)
    if trained_judge is None:
        raise UsageError(f"no judge {judge!r} can be trained", hint=f"--judge is one of: {', '.join(LIST_SETTINGS)}")
    run = LLMTrainingSettings(
        # A validation takes as long as fifteen steps on two cores.
        plan=TrainingPlan(steps=steps, minutes=minutes, learning_rate=learning_rate, validations=5, seed=seed),
        lora=LoraSettings(rank=rank, layers=layers),
        lists=LIST_SETTINGS[trained_judge],
        users=split_settings(users_file, folds),
    )
    with open_store(configured, create=False) as store, training_bar(name) as report:
        if text is not None:
            template = load_template("item")
            made = train_on_texts(name, store, text, template, workspace, run, restart=restart, report=report)
        else:
            pairs = parse_pairs(pair, without, [summary.domain for summary in store.domains()])
            template = load_templates(configured)[TASK_OF[trained_judge]]
            made = train_judge(
                name, store, trained_judge, template, workspace, run, pairs, restart=restart, report=report
            )
    _print_adapter(made, workspace.adapters_dir / name, as_json=json_)


@app.command("list")
def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """The adapters that were trained: for which base model, on what, and how good they are.

    \b
    Examples:
      xdrec adapt list
      xdrec adapt list --json
    """
    from retrieval.templates import visible
    from xdrec_agent.models import list_adapters

    adapters = list_adapters(settings().adapters_dir)
    if json_:
        typer.echo(json.dumps([{"folder": str(p)} | m.model_dump(mode="json") for p, m in adapters], indent=2))
        return
    for _, manifest in adapters:
        learnt = ", ".join(manifest.data.pairs or manifest.data.domains)
        figures = ", ".join(
            f"{name} {manifest.before[name]:.3f} → {value:.3f}"
            for name, value in manifest.metrics.items()
            if not name.startswith("chance")
        )
        typer.echo(f"{manifest.name:24} {manifest.kind:5} {manifest.base.name}  {visible(learnt)}  {figures}")
    if not adapters:
        typer.echo("no adapters yet → xdrec adapt encoder NAME, or xdrec adapt llm NAME", err=True)


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="As `xdrec adapt list` shows it.")],
    beside: Annotated[
        bool, typer.Option("--beside", help="Serve it beside the base model: no merging, but slower prompts.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Merge an adapter into its base model and name the result in xdrec.toml.

    To go back, set llm.model (or encoder.model) to the base model again.

    \b
    Examples:
      xdrec adapt use taste
      xdrec adapt use taste --beside
    """
    from xdrec_agent.adapt import check_adapter
    from xdrec_agent.app import Value, set_values
    from xdrec_agent.models import BaseModelId, check_adapter_name, find_model, merge_adapter, read_adapter_manifest
    from xdrec_agent.settings import config_file

    configured = settings()
    folder = configured.adapters_dir / check_adapter_name(name)
    manifest = read_adapter_manifest(folder)
    base = find_model(manifest.base.name, configured.models_dir)
    check_adapter(manifest, BaseModelId.of(manifest.base.name, base))
    values: dict[str, Value]
    if beside and manifest.section == "encoder":
        raise UsageError("an encoder's adapter cannot be served beside its base model", hint=f"xdrec adapt use {name}")
    if beside:
        served = {known: str(path) for known, path in configured.llm.adapters.items()} | {name: str(folder)}
        values = {"model": manifest.base.name, "adapters": served, "adapter": name}
    else:
        with diagnostics().status(f"merging {name} into {manifest.base.name}"):
            merged = merge_adapter(folder, base, manifest.base.name, configured.models_dir)
        values = {"model": merged.name, "adapter": None} if manifest.section == "llm" else {"model": merged.name}
    set_values(config_file(), manifest.section, values)
    if json_:
        typer.echo(json.dumps({"adapter": name, "beside": beside, "model": values["model"]}, indent=2))
        return
    also = f", llm.adapter = {name}" if beside else ""
    typer.echo(f"{config_file()}: {manifest.section}.model = {values['model']}{also}")
    again = "xdrec index DOMAIN" if manifest.section == "encoder" else "xdrec llm down, then xdrec llm up,"
    typer.echo(f"{again} puts it to use", err=True)


def _workspace(configured: Settings, base_name: str) -> Workspace:
    from xdrec_agent.adapt import Workspace
    from xdrec_agent.models import find_model

    return Workspace(
        base_folder=find_model(base_name, configured.models_dir),
        base_name=base_name,
        adapters_dir=configured.adapters_dir,
        device=configured.device,
    )


def _print_adapter(made: AdapterManifest, folder: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(made.model_dump_json(indent=2))
        return
    learnt = ", ".join(made.data.pairs or made.data.domains)
    typer.echo(f"{made.name}: {made.steps} steps, {made.tokens:,} tokens, {made.seconds / 60:.1f} min on {learnt}")
    for name, value in made.metrics.items():
        if not name.startswith("chance"):
            chance = made.metrics.get(f"chance_{name}")
            beside = "" if chance is None else f"  (chance {chance:.3f})"
            typer.echo(f"  {name:12} {made.before[name]:.3f} → {value:.3f}{beside}")
    typer.echo(f"{folder} → xdrec adapt use {made.name}", err=True)


def parse_pairs(
    pairs: Sequence[str] | None, without: Sequence[str] | None, known: Sequence[str]
) -> list[tuple[str, str]]:
    """The named pairs, or all, less those of the domains to leave out. Raises UsageError."""
    named = []
    for text in pairs or ():
        source, colon, target = text.partition(":")
        if not (source and colon and target):
            raise UsageError(f"--pair {text!r} is not SOURCE:TARGET", hint="for example --pair films:books")
        named.append((source, target))
    if unknown := sorted(set(without or ()) - set(known)):
        raise UsageError(f"--without {unknown[0]!r}: there is no such domain", hint=f"there are: {', '.join(known)}")
    kept = [pair for pair in named or permutations(known, 2) if not set(pair) & set(without or ())]
    if not kept:
        raise UsageError("no pair of domains is left to learn", hint="training needs two domains")
    return kept


def split_settings(users_file: Path | None, folds: list[int] | None) -> SplitSettings:
    """Which users are learnt from."""
    from retrieval.adapt import TEST_FOLD, SplitSettings

    return SplitSettings(users_file=users_file, left_out=tuple([TEST_FOLD] if folds is None else folds))
