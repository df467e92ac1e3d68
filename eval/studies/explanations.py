"""Explanations, measured. Reads people and seeded sets of likes, produces their explained recommendations and figures.

The people are those of the store that like something in the source domain; sets of liked items follow until there are
enough recommendations. Works with any server, with the response cache alone, and without a server.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain, combinations
from pathlib import Path
from time import perf_counter
from typing import Final

import numpy as np
from pydantic import BaseModel, Field, ValidationError
from rich.console import Console
from rich.table import Table

from eval.data import Say
from eval.systems import run_concurrently
from retrieval.errors import DataError, UnreadableFile, UsageError
from retrieval.files import write_atomic
from retrieval.store import Store
from retrieval.types import Entity, Frozen, History, HistoryEntry, Item, Query
from xdrec_agent.app import open_recommender
from xdrec_agent.explain import ExplainContext
from xdrec_agent.grounding import Scope, foreign, gather, load_rules
from xdrec_agent.recommend import Recommender
from xdrec_agent.settings import Settings
from xdrec_agent.types import Explanation, ExplanationSource, Recommendation, Recommendations

_AT_ONCE: Final = 8
"""People whose explanations are asked for at once: a server works on several prompts better than on one."""
_LIKED: Final = (2, 5)
"""How many items a seeded set has: at least, and one more than at most."""


class Explained(Frozen):
    """One explanation as a person sees it, with all that a labeller needs to judge it.

    `liked` are the items that the explanation could cite; `relations` are "subject predicate object" with titles,
    and of items their domain.
    """

    id: str
    user: str
    rank: int = Field(ge=1)
    item: Item
    liked: tuple[Item, ...]
    closest: str | None
    """Title of the liked item that is the most similar one, if it is among those."""
    relations: tuple[str, ...]
    explanation: Explanation
    seconds: float
    """From asking for all explanations of the list to having this one."""
    right_language: bool


class ExplainReport(Frozen):
    """Figures over many explanations.

    Attributes:
        supported: share of the shown texts' claims that the check finds supported.
        claims: mean claims an explanation.
        sources: share by source.
        words: mean length, in words (Chinese: characters).
        similarity: mean Jaccard similarity, in [0, 1], of the words of two people's explanations of one item, titles of
            what they liked included: how little is said to each in particular. None: no item was recommended twice.
        duplicates: share of such pairs with the same text; None likewise.
        right_language: share in the wanted language.
        seconds: wall time an explanation, several people's being written at once; `median_wait`: median time from
            asking to having it, likewise.
        reasons: why explanations are not the model's first answer, the most frequent first.
    """

    explanations: int
    people: int
    language: str
    style: str
    model: str | None
    supported: float
    claims: float
    sources: dict[ExplanationSource, float]
    words: float
    similarity: float | None
    duplicates: float | None
    right_language: float
    seconds: float
    median_wait: float
    reasons: tuple[str, ...]


async def explained(
    recommender: Recommender, source: str, target: str, count: int, k: int, seed: int, say: Say
) -> tuple[list[Explained], float]:
    """At least `count` explained recommendations, `k` a person, and the wall time of the explaining in seconds.

    Raises:
        UsageError: nobody likes anything in the source domain.
        SetupError, BackendError: from the recommender.
    """
    asked: list[tuple[Query, Recommendations]] = []
    wanted = 0
    for query in queries(recommender.store, source, target, k, seed):
        asked.append((query, await recommender.rank(query)))
        wanted += len(asked[-1][1].items)
        if wanted >= count:
            break
    start = perf_counter()
    rows = await run_concurrently(
        asked, lambda both: _explained(recommender, *both), "reasons", say, _AT_ONCE, unit="people"
    )
    return list(chain.from_iterable(rows)), perf_counter() - start


async def _explained(recommender: Recommender, query: Query, answer: Recommendations) -> list[Explained]:
    start = perf_counter()
    async with aclosing(recommender.explain(query, answer)) as ready:
        return [_row(recommender.explain_context, query, one, perf_counter() - start) async for one in ready]


def queries(store: Store, source: str, target: str, k: int, seed: int) -> Iterator[Query]:
    """A question for each person who likes something in the source domain, then for sets of likes, without end."""
    people = [store.history(user, [source, target]) for user in store.users(source)]
    histories = [history for history in people if history.within(source).liked]
    items = sorted(store.iter_items(source), key=lambda item: item.id)
    if not items:
        raise UsageError(f"there is nothing in {source!r}", hint="xdrec demo examples/films-books")
    yield from (Query(history=history, target=target, k=k) for history in histories)
    rng = np.random.default_rng(seed)
    for n in range(10 * len(items)):
        chosen = rng.choice(len(items), size=min(len(items), int(rng.integers(*_LIKED))), replace=False)
        entries = tuple(HistoryEntry(item=items[i]) for i in chosen)
        yield Query(history=History(user=f"likes-{n}", entries=entries), target=target, k=k)


def report(rows: Sequence[Explained], seconds: float, model: str | None) -> ExplainReport:
    """The figures. Raises UsageError if there are no explanations."""
    if not rows:
        raise UsageError("there are no explanations", hint="xdrec demo examples/films-books")
    reasons = [row.explanation.reason for row in rows if row.explanation.reason]
    claims = [claim for row in rows for claim in row.explanation.claims]
    by_item = defaultdict(list)
    for row in rows:
        by_item[row.item.id].append(row)
    pairs = [(a, b) for group in by_item.values() for a, b in combinations(group, 2) if a.user != b.user]
    sources: tuple[ExplanationSource, ...] = ("llm", "repaired", "evidence")
    return ExplainReport(
        explanations=len(rows),
        people=len({row.user for row in rows}),
        language=rows[0].explanation.language,
        style=rows[0].explanation.style,
        model=model,
        supported=_share(claim.supported for claim in claims),
        claims=len(claims) / len(rows),
        sources={s: _share(row.explanation.source == s for row in rows) for s in sources},
        words=float(np.mean([len(_words(row)) for row in rows])),
        similarity=float(np.mean([_jaccard(a, b) for a, b in pairs])) if pairs else None,
        duplicates=_share(a.explanation.text == b.explanation.text for a, b in pairs) if pairs else None,
        right_language=_share(row.right_language for row in rows),
        seconds=seconds / len(rows),
        median_wait=float(np.median([row.seconds for row in rows])),
        reasons=tuple(sorted(set(reasons), key=lambda r: (-reasons.count(r), r))[:10]),
    )


def _row(context: ExplainContext, query: Query, one: Recommendation, seconds: float) -> Explained:
    explanation = one.explanation
    if explanation is None:
        raise UsageError("the recommender gave no explanation")
    evidence = gather(one.candidate, query.history, query.text, context.settings.evidence, context.paths)
    relations = dict.fromkeys(r for path in evidence.paths for r in path.relations)
    user = query.history.user or ""
    return Explained(
        id=f"{user}/{one.item.id}",
        user=user,
        rank=one.rank,
        item=one.item,
        liked=tuple(known.item for known in evidence.known),
        closest=evidence.closest.item.title if evidence.closest else None,
        relations=tuple(f"{_end(r.subject)} {r.predicate} {_end(r.object)}" for r in relations),
        explanation=explanation,
        seconds=seconds,
        right_language=foreign(explanation.text, Scope(evidence, explanation.language)) is None,
    )


def _end(entity: Entity) -> str:
    """What an end of a relation is called, and of which domain it is."""
    return f"{entity.name} ({entity.domain})" if entity.is_item else entity.name


def _words(row: Explained) -> list[str]:
    """Words where the language sets them off by spaces, else characters."""
    text = row.explanation.text
    return text.split() if load_rules(row.explanation.language).spaces else list(text)


def _jaccard(a: Explained, b: Explained) -> float:
    """Shared words over all words (Jaccard 1912)."""
    mine, theirs = set(_words(a)), set(_words(b))
    return len(mine & theirs) / len(mine | theirs)


def _share(values: Iterable[bool]) -> float:
    held = list(values)
    return sum(held) / len(held) if held else 1.0


async def measure_explanations(
    settings: Settings, source: str, target: str, count: int, k: int, seed: int, out: Path | None, say: Say
) -> ExplainReport:
    """The figures; `out` gets the explanations, one JSON object (`eval.studies.explanations.Explained`) a line.

    Raises:
        UsageError: there is nobody and nothing to explain to, or `out` cannot be written.
        SetupError, BackendError: from the recommender.
    """
    async with open_recommender(settings) as recommender:
        rows, seconds = await explained(recommender, source, target, count, k, seed, say)
        client = recommender.explain_context.client
    if out is not None:
        write_lines(rows, out, hint="name another file in --out")
    return report(rows, seconds, client.endpoint.model if client else None)


def write_lines(rows: Iterable[BaseModel], path: Path, hint: str) -> None:
    """Write each row as a line of JSON. Raises UsageError: the file cannot be written."""
    try:
        write_atomic(path, "".join(f"{row.model_dump_json()}\n" for row in rows))
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc}", hint=hint) from exc


def read_explained(path: Path) -> list[Explained]:
    """What `xdrec-eval explain --out` wrote.

    Raises:
        UnreadableFile: there is no such file.
        DataError: a line is no explanation.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UnreadableFile(f"{path} cannot be read: {exc}", hint="xdrec-eval explain --out FILE makes one") from exc
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Explained.model_validate_json(line))
        except ValidationError as exc:
            error = exc.errors(include_url=False, include_input=False)[0]
            said = f"{path}, line {number}: {'.'.join(map(str, error['loc']))} {error['msg']}"
            raise DataError(said, hint="xdrec-eval explain --out FILE makes one") from exc
    return found


def print_explanations(found: ExplainReport, console: Console) -> None:
    """The figures as a table."""
    figures = {
        "explanations": f"{found.explanations} to {found.people} people, {found.language}, {found.style}",
        "model": found.model or "no model",
        "claims supported": f"{found.supported:.1%} of {found.claims:.1f} an explanation",
        "source": ", ".join(f"{name} {share:.1%}" for name, share in found.sources.items()),
        "length": f"{found.words:.1f} words (Chinese: characters)",
    }
    if found.similarity is not None and found.duplicates is not None:
        figures["two people, one item"] = f"Jaccard {found.similarity:.2f}, {found.duplicates:.1%} the same text"
    figures["right language"] = f"{found.right_language:.1%}"
    figures["time"] = f"{found.seconds:.2f} s an explanation, median wait {found.median_wait:.2f} s"
    table = Table(show_header=False, box=None)
    for figure in figures.items():
        table.add_row(*figure)
    console.print(table)
    for reason in found.reasons:
        console.print(f"not the first answer: {reason}", style="dim", markup=False)
