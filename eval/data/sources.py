"""The benchmarks' data. Reads the folder amazon-three-domains, produces an open store and index of it.

Ingesting and embedding take minutes, so both are kept in a folder of their own whose name is a hash of the data, the
encoder and the item template, and the next run begins where this one stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Final

from eval.data.contamination import encoder_training_users
from retrieval.encoder import Encoder
from retrieval.errors import DataError
from retrieval.index import Index
from retrieval.ingest import IngestRequest, ingest
from retrieval.ranking import FusionFit, fusion_fit
from retrieval.settings import IndexSettings
from retrieval.store import Store
from retrieval.templates import PromptTemplate
from retrieval.types import History

NAME: Final = "amazon-three-domains"
DOMAINS: Final = ("books", "films", "music")
CACHE: Final = Path("build/bench")
"""Where prepared data lies, relative to the working folder."""

Say = Callable[[str], None]
"""Told in one line what is going on."""

_EVERY_S: Final = 10.0


@dataclass(frozen=True)
class Dataset:
    """The prepared data: every domain is ingested and indexed.

    Attributes:
        home: the folder that holds the store and the index.
        training_users: users in the training data of a model in use, excluded from evaluation, which would
            measure that model's memory (`eval.data.contamination`).
        fusion: the retriever's weights; None: the shipped ones.
        digest: SHA-256 (hex) of the files; runs over different data are not compared.
    """

    store: Store
    index: Index
    home: Path
    domains: tuple[str, ...] = DOMAINS
    training_users: frozenset[str] = frozenset()
    fusion: FusionFit | None = None
    digest: str = ""

    def without_training_users(self, people: Iterable[History]) -> list[History]:
        """Those of them whom no model in use was trained on: the users to evaluate on."""
        return [person for person in people if person.user not in self.training_users]

    def also_trained_on(self, users: frozenset[str]) -> Dataset:
        """The data where another model, trained on these users, is in use as well."""
        return replace(self, training_users=self.training_users | users)

    @property
    def catalogue(self) -> dict[str, int]:
        """By domain how many items can be recommended."""
        return {domain: len(self.index.snapshot(domain).positions) for domain in self.domains}


def store_url(home: Path) -> str:
    """The URL of the store in a prepared folder."""
    return f"sqlite:///{home / 'store.sqlite'}"


def index_dir(home: Path) -> Path:
    """The folder of the indexes in a prepared folder."""
    return home / "index"


@contextmanager
def open_dataset(
    data: Path,
    encoder: Encoder,
    template: PromptTemplate,
    say: Say,
    cache: Path = CACHE,
    fits_dir: Path | None = None,
) -> Iterator[Dataset]:
    """Prepare the data where that was not done before, and open it.

    Args:
        data: the folder amazon-three-domains, which holds `items_DOMAIN.csv.gz` and `interactions_DOMAIN.csv.gz` for
            each of `DOMAINS`, or the folder that it lies in.
        encoder, template: what item vectors are made with.
        cache: parent of the prepared folders.
        fits_dir: the home's fits, which stand before the shipped ones; None: the shipped ones alone.

    Raises:
        DataError: a file is not there, rows of it were refused, or the home's fits cannot be read.
    """
    digest = data_hash(data)
    identity = hashlib.sha256(f"{encoder.fingerprint}{template.fingerprint}{digest}".encode()).hexdigest()
    home = cache / identity[:16]
    with (
        Store.open(store_url(home)) as store,
        Index(index_dir(home), encoder, template, IndexSettings()) as index,
    ):
        _ingest(store, data, home / "ingested", say)
        for domain in DOMAINS:
            _index(store, index, domain, say)
        met, fusion = encoder_training_users(encoder, store, say), fusion_fit(encoder.name, fits_dir)
        yield Dataset(store, index, home, training_users=met, fusion=fusion, digest=digest)


def _files(data: Path) -> list[Path]:
    if (data / NAME).is_dir():
        data = data / NAME
    files = [data / f"{kind}_{domain}.csv.gz" for kind in ("items", "interactions") for domain in DOMAINS]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        expected = "a folder with items_D.csv.gz (item_id, title, creator, categories) and interactions_D.csv.gz"
        raise DataError(
            f"{data} lacks {', '.join(missing)}",
            hint=f"--data names {expected} (user_id, item_id, rating, timestamp) for D in {', '.join(DOMAINS)}",
        )
    return files


def data_hash(data: Path) -> str:
    """SHA-256 (hex) of the files' names and contents. Raises DataError if one is not there."""
    digest = hashlib.sha256()
    for path in _files(data):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _ingest(store: Store, data: Path, done: Path, say: Say) -> None:
    if done.exists():
        return
    for path in _files(data):
        domain = path.name.removesuffix(".csv.gz").split("_", 1)[1]
        say(f"ingesting {path.name}")
        (report,) = ingest(store, IngestRequest(path, domain, format="csv"))
        if report.rejected:
            first = report.problems[0]
            raise DataError(
                f"{path}: {report.rejected} of {report.rows} rows were refused, the first in line {first.line}: "
                f"{first.reason}",
                hint="is the folder complete and unchanged?",
            )
    done.touch()


def _index(store: Store, index: Index, domain: str, say: Say) -> None:
    said = start = monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal said
        if monotonic() - said >= _EVERY_S or done == total:
            said = monotonic()
            say(f"embedding {domain}: {done:,} of {total:,} ({done / (said - start):.0f}/s)")

    index.build(store, domain, progress=progress)
