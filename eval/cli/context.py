"""What the commands of `xdrec-eval` share. Reads settings and data, produces what they measure with, and prints it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from xdrec_agent.cli.context import diagnostics

if TYPE_CHECKING:
    from eval.data import Dataset
    from eval.report import Page
    from retrieval.encoder import SentenceEncoder
    from xdrec_agent.rerank import RerankContext
    from xdrec_agent.settings import Settings

T = TypeVar("T")


def say(line: str) -> None:
    """Print a remark to stderr."""
    diagnostics().print(line, style="dim", markup=False)


def pulled_encoder(settings: Settings) -> SentenceEncoder:
    """The configured encoder, fetched where it is not here. Raises SetupError."""
    from xdrec_agent.app import open_encoder
    from xdrec_agent.models import pull_model

    pull_model(settings.encoder.model, settings.models_dir, offline=settings.offline)
    return open_encoder(settings)


def judges_of(named: list[str] | None) -> list[str]:
    """The judges that are meant, in the order of the table. Raises UsageError for a name that is none."""
    from retrieval.errors import UsageError
    from xdrec_agent.rerank import JUDGES

    if unknown := sorted(set(named or ()) - JUDGES.keys()):
        raise UsageError(f"there is no judge {unknown[0]!r}", hint=f"--judge is one of: {', '.join(JUDGES)}")
    return [judge for judge in JUDGES if not named or judge in named]


@contextmanager
def prepared(data: Path, settings: Settings) -> Iterator[Dataset]:
    """The data, ingested and embedded by the configured encoder, with the weights that are in effect for the home.

    Raises:
        SetupError, DataError: as `pulled_encoder` and `open_dataset`.
    """
    from eval.data import open_dataset
    from retrieval.templates import load_template

    encoder = pulled_encoder(settings)
    with open_dataset(data, encoder, load_template("item"), say, fits_dir=settings.fits_dir) as dataset:
        yield dataset


@dataclass(frozen=True)
class Bench:
    """What a measurement with a model needs."""

    settings: Settings
    dataset: Dataset
    context: RerankContext
    say: Callable[[str], None]


def with_model(data: Path, run: Callable[[Bench], Coroutine[Any, Any, T]], settings: Settings | None = None) -> T:
    """Run with the prepared data and a client of the running model."""
    import asyncio

    from eval.data import llm_training_users
    from xdrec_agent.app import load_templates, open_client
    from xdrec_agent.rerank import RerankContext, rerank_fits
    from xdrec_agent.settings import load_settings

    settings = (settings or load_settings()).patient()

    async def run_all() -> T:
        with prepared(data, settings) as prepared_data:
            dataset = prepared_data.also_trained_on(llm_training_users(settings, prepared_data.store, say))
            async with open_client(settings) as client:
                fits = rerank_fits(settings.fits_dir)
                context = RerankContext(settings.rerank, load_templates(settings), client, fits=fits)
                return await run(Bench(settings, dataset, context, say))

    return asyncio.run(run_all())


def show(page: Page, *, as_json: bool, out: Path | None = None) -> None:
    """Write the report into a folder, if there is one, and print it to stdout."""
    from rich.console import Console

    from eval.report import print_page, write_page

    if out is not None:
        write_page(page, out)
    if as_json:
        typer.echo(page.json)
    else:
        print_page(page, Console(highlight=False))
