"""Do generated facets help? Reads a store with facets, produces two runs: items embedded without them, and with them.

Both arms have an index of their own, made of the same catalogue by the same encoder; a text that is the same in both is
embedded once. Which of the two is better is said by `eval.runs.comparison`, as of any two runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from eval.data import Case, CatalogueScores, Dataset, OutOfFold, Say, guarded_cases, histories, in_hash_order
from eval.runs import RunFolder, manifest_of, run_catalogue
from retrieval.encoder import Encoder, Vectors
from retrieval.errors import DataError, UsageError
from retrieval.index import INTERACTIONS_FILE, Index
from retrieval.store import Store
from retrieval.templates import load_template
from retrieval.types import History, Query
from xdrec_agent.enrich import FacetStore
from xdrec_agent.settings import Settings

PLAIN: Final = "plain"
FACETS: Final = "facets"
METRIC: Final = "recall@100"
"""What decides: facets are to find items, not to order the first ten."""


@dataclass(frozen=True)
class FacetStudy:
    """A store, its facets, and so many users of it, by hash.

    Attributes:
        facets: generated ones, of the items of the store.
    """

    store: Store
    facets: FacetStore
    encoder: Encoder
    settings: Settings
    users: int
    seed: int = 0

    @property
    def domains(self) -> tuple[str, ...]:
        """All of the store's."""
        return self.store.domain_names()

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what both arms are made from, as the store counts it."""
        generations = [(d, self.store.generation(d), self.facets.generation(d)) for d in self.domains]
        return hashlib.sha256(repr((generations, self.store.interactions_generation())).encode()).hexdigest()

    def run(self, out: Path, say: Say) -> tuple[RunFolder, RunFolder]:
        """Make the runs OUT/plain and OUT/facets, or go on with them; the indexes lie beside them, without people.

        Raises:
            UsageError: no item has facets, or `out` holds something else.
            DataError: nobody's history gives a case.
        """
        enriched = {domain: len(self.facets.marks(domain)) for domain in self.domains}
        if not any(enriched.values()):
            raise UsageError("no item has facets", hint="xdrec enrich DOMAIN")
        say("items with facets: " + ", ".join(f"{domain} {count:,}" for domain, count in enriched.items()))
        users = in_hash_order(histories(self.store), self.seed)
        with_cases = filter(None, (list(guarded_cases(user, self.domains)) for user in users))
        cases = [case for mine in islice(with_cases, self.users) for case in mine]
        if not cases:
            raise DataError(
                "nobody's history gives a case",
                hint="people with three liked items in one domain and later ones in another",
            )
        encoder = CachingEncoder(self.encoder)
        plain, facets = (self._run_arm(name, out, encoder, users, cases, say) for name in (PLAIN, FACETS))
        return plain, facets

    def _run_arm(
        self, name: str, out: Path, encoder: Encoder, users: Sequence[History], cases: Sequence[Case], say: Say
    ) -> RunFolder:
        with self._indexed(name, out / "indexes" / name, encoder, say) as data:
            others = OutOfFold(data, users)

            def score(case: Case) -> CatalogueScores:
                retriever = others.retriever(case, self.settings.retriever)
                return retriever.scores(Query(history=case.history, target=case.target))[1]

            encoding = self.settings.encoder.model_copy(update={"facets": name == FACETS})
            manifest = manifest_of(
                name,
                "catalogue",
                self.settings.model_copy(update={"encoder": encoding}),
                {"split": "cold target", "users": self.users, "seed": self.seed},
                self.fingerprint,
                {"item": data.index.template},
                catalogue=data.catalogue,
            )
            folder = RunFolder.create(out / name, manifest)
            run_catalogue(folder, data, cases, others, score, say)
            folder.finish()
            return folder

    @contextmanager
    def _indexed(self, name: str, folder: Path, encoder: Encoder, say: Say) -> Iterator[Dataset]:
        template = load_template("item_facets" if name == FACETS else "item")
        facets = self.facets if name == FACETS else None
        with Index(folder, encoder, template, self.settings.index, facets) as index:
            for domain in self.domains:
                say(f"{name}: embedding {domain}")
                index.build(self.store, domain)
            # Interactions are learnt from the store, fold by fold: no copy that `xdrec users delete` knows nothing of.
            (folder / INTERACTIONS_FILE).unlink(missing_ok=True)
            yield Dataset(self.store, index, folder, self.domains)


class CachingEncoder:
    """An encoder that embeds a text once, however often it is asked."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._cache: dict[str, Vectors] = {}

    @property
    def fingerprint(self) -> str:
        """The encoder's."""
        return self._encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dims)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._cache]
        if new:
            self._cache.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._cache[text] for text in texts])
