"""What size costs on one machine. Reads a prepared dataset, produces what each size of a growing catalogue costs.

The catalogue is made up (`benchmarks.scale.catalogue`) and grows from one size to the next. Every step is a process of
its own, and what it found is kept beside the catalogue: a benchmark that was stopped goes on with the step that it was
at.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, TypeVar

from benchmarks.scale.catalogue import SOURCE, TARGET, Pool, write_interactions, write_items
from benchmarks.scale.steps import Compared, Indexed, Ingested, Searched
from eval.data import CACHE, Dataset, Say
from retrieval.errors import BackendError
from retrieval.files import write_atomic
from retrieval.types import Frozen

SIZES: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_FILMS: Final = 10_000
_SAID_EVERY: Final = 50
"""Batches of an index run between two lines about them."""

F = TypeVar("F", bound=Frozen)


class Killed(Frozen):
    """An index run that was killed half way."""

    seconds: float
    wanted: int
    """Items to be embedded."""
    done: int
    """Of them, as far as the run had told."""


@dataclass(frozen=True)
class Grown:
    """What was found at one size. `killed` is there where the index run was killed once; `indexed` is the one after."""

    items: int
    ingested: Ingested
    killed: Killed | None
    indexed: Indexed
    searched: Searched
    compared: Compared


def measure_scale(data: Dataset, sizes: Sequence[int], say: Say, cache: Path = CACHE) -> list[Grown]:
    """Grow a catalogue through the sizes, ascending multiples of 1,000, and measure at each.

    Raises:
        BackendError: a step failed.
    """
    home = cache / f"scale-{data.home.name}"
    catalogue = _Catalogue(home, Pool.of(data, home / "pool"), say)
    say(f"what is done already is kept in {home}; delete it to measure everything again")
    starts = (0, *sizes)
    return [catalogue.grown(start, stop, kill=stop == sizes[-1]) for start, stop in zip(starts, sizes, strict=False)]


class _Catalogue:
    """The catalogue in its folder."""

    def __init__(self, home: Path, pool: Pool, say: Say) -> None:
        self._home, self._pool, self._say = home, pool, say
        (home / "found").mkdir(parents=True, exist_ok=True)

    def grown(self, start: int, stop: int, *, kill: bool) -> Grown:
        """Grow from one size to another, and measure."""
        return Grown(
            items=stop,
            ingested=self._kept(stop, "ingest", Ingested, lambda: self._ingest(start, stop)),
            killed=self._kept(stop, "killed", Killed, self._killed) if kill else None,
            indexed=self._kept(stop, "index", Indexed, self._index),
            searched=self._kept(stop, "search", Searched, lambda: self._run(Searched, "search")),
            compared=self._kept(stop, "exact", Compared, lambda: self._run(Compared, "exact")),
        )

    def _kept(self, size: int, step: str, kind: type[F], take: Callable[[], F]) -> F:
        """What a step found, now or before."""
        file = self._home / "found" / f"{size}-{step}.json"
        if not file.exists():
            self._say(f"{size:,} items: {step}")
            write_atomic(file, take().model_dump_json())
        return kind.model_validate_json(file.read_bytes())

    def _ingest(self, start: int, stop: int) -> Ingested:
        parts = [(TARGET, start, stop), *([(SOURCE, 0, _FILMS)] if start == 0 else [])]
        files = []
        for domain, first, last in parts:
            files.append(self._home / f"{domain}-items-{last}.csv")
            write_items(files[-1], self._pool, domain, first, last)
        for domain, items in ((TARGET, stop), (SOURCE, _FILMS)):
            files.append(self._home / f"{domain}-interactions-{stop}.csv")
            write_interactions(files[-1], domain, start, stop, items)
        found = self._run(Ingested, "ingest", *map(str, files))
        for file in files:
            file.unlink()
        return found

    def _index(self) -> Indexed:
        self._run(Indexed, "index", SOURCE)
        return self._run(Indexed, "index", TARGET)

    def _killed(self) -> Killed:
        began, done, wanted = perf_counter(), 0, 0
        with self._started("index", TARGET) as process:
            for line in self._lines(process):
                if line.startswith("{"):  # nothing was left to embed
                    break
                done, wanted = map(int, line.split())
                if 2 * done >= wanted:
                    process.kill()
                    break
        return Killed(seconds=perf_counter() - began, wanted=wanted, done=done)

    def _run(self, kind: type[F], step: str, *arguments: str) -> F:
        last = ""
        with self._started(step, *arguments) as process:
            for line in self._lines(process):
                last = line
        if process.returncode != 0:
            raise BackendError(f"step {step} ended with {process.returncode}", hint="run it again: it goes on there")
        return kind.model_validate_json(last)

    def _started(self, step: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "benchmarks.scale.steps", step, str(self._home), str(self._pool.folder)]
        return subprocess.Popen([*command, *arguments], text=True, stdout=subprocess.PIPE)

    def _lines(self, process: subprocess.Popen[str]) -> Iterator[str]:
        """What a step writes; from time to time it is told how far it is."""
        for number, line in enumerate(process.stdout or (), 1):
            if number % _SAID_EVERY == 0 and not line.startswith("{"):
                done, wanted = map(int, line.split())
                self._say(f"embedded and stored {done:,} of {wanted:,}")
            yield line
