"""Explanations labelled by hand. Reads the sheet and the labels of `eval/studies/labels`, produces what nothing bears
out.

The labellers split the texts themselves, so their claims differ; what they agree upon is counted by explanation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field, JsonValue, ValidationError

from eval.stats import Estimate, ratio_of_means
from eval.studies.explanations import Explained, write_lines
from retrieval.errors import UsageError
from retrieval.types import Frozen
from xdrec_agent.types import ExplanationSource

FOLDER: Final = Path(__file__).parent / "labels"
SHEET: Final = "explanations.jsonl"
_LABELS: Final = "labels-*.jsonl"

Kind = Literal["title", "liked", "person", "year", "number", "category", "relation", "closeness", "statement"]
Fields = dict[str, JsonValue]
Model = TypeVar("Model", bound=BaseModel)


class SheetRow(Frozen):
    """A line of the sheet: an explanation, and all that it may speak of. See eval/studies/labels/README.md."""

    id: str
    user: str
    model: str
    language: str
    source: ExplanationSource
    text: str
    item: Fields
    liked: tuple[Fields, ...]
    closest: str | None
    """Title of the liked item that is the most similar one; None if it is not among those."""
    relations: tuple[str, ...]


class LabelledClaim(Frozen):
    """A claim as a labeller found it in the text."""

    text: str
    kind: Kind
    supported: bool
    why: str | None = None


class Labelled(Frozen):
    """What one labeller said of one explanation."""

    id: str
    claims: tuple[LabelledClaim, ...] = Field(min_length=1)


class LabelReport(Frozen):
    """One labeller's verdict; shares with 95% intervals, those of claims by resampling people.

    Attributes:
        unsupported: share of the claims that nothing bears out.
        explanations_unsupported: share of the explanations with such a claim; exact (Clopper and Pearson 1934), as
            resampling says nothing where nothing was found.
        statements: share of the claims that speak of plot, mood or worth and that nothing bears out.
        objected: the explanations with such claims, and what is said against each.
    """

    labeller: str
    explanations: int
    claims: int
    unsupported: tuple[float, float, float]
    explanations_unsupported: tuple[float, float, float]
    statements: tuple[float, float, float]
    objected: dict[str, tuple[str, ...]]


class Agreement(Frozen):
    """Of two labellers: the share of explanations that both or neither object to, and Cohen's kappa of that.

    `kappa` is None where one of them says the same of all (Cohen 1960 divides by nothing then).
    """

    labellers: tuple[str, str]
    same: float
    kappa: float | None


def sheet_of(rows: Iterable[Explained], model: str) -> list[SheetRow]:
    """What a labeller is to see of a model's explanations: all but what the program's own check said."""
    return [
        SheetRow(
            id=f"{model}/{row.explanation.language}/{row.id}",
            user=row.user,
            model=model,
            language=row.explanation.language,
            source=row.explanation.source,
            text=row.explanation.text,
            item=_fields(row.item.model_dump(mode="json")),
            liked=tuple(_fields(item.model_dump(mode="json")) for item in row.liked),
            closest=row.closest,
            relations=row.relations,
        )
        for row in rows
    ]


def write_sheet(rows: Iterable[Explained], model: str, folder: Path) -> int:
    """Add to what is to be labelled; returns how many explanations there are now.

    Raises:
        UsageError: the folder has labels already, the rows are there, or the folder cannot be written to.
    """
    path = folder / SHEET
    before = _read(path, SheetRow) if path.exists() else []
    sheet = [*before, *sheet_of(rows, model)]
    if len({one.id for one in sheet}) < len(sheet):
        raise UsageError(f"{path} holds some of these explanations already", hint="add each file once")
    if list(folder.glob(_LABELS)):
        raise UsageError(f"{folder} has labels of another sheet", hint="name another folder")
    write_lines(sheet, path, hint="name another folder")
    return len(sheet)


def read_sheet(folder: Path = FOLDER) -> list[SheetRow]:
    """The explanations that were labelled. Raises UsageError."""
    return _read(folder / SHEET, SheetRow)


def read_labels(folder: Path = FOLDER) -> dict[str, list[Labelled]]:
    """Each labeller's labels, by name. Raises UsageError: broken, or not of the sheet's explanations, each once."""
    ids = sorted(one.id for one in read_sheet(folder))
    found = {path.stem.partition("-")[2]: _read(path, Labelled) for path in sorted(folder.glob(_LABELS))}
    for name, labels in found.items():
        if sorted(one.id for one in labels) != ids:
            raise UsageError(
                f"{name} labelled other explanations than the sheet's {len(ids)}, or some twice",
                hint="a line for each line of explanations.jsonl",
            )
    if not found:
        raise UsageError(f"there are no labels in {folder}", hint=f"name a folder with {SHEET} and {_LABELS}")
    return found


def label_report(labeller: str, sheet: Sequence[SheetRow], labels: Sequence[Labelled]) -> LabelReport:
    """The shares of one labeller."""
    from statsmodels.stats.proportion import proportion_confint

    of = {one.id: one.claims for one in labels}
    users = [one.user for one in sheet]
    wrong = [[claim for claim in of[one.id] if not claim.supported] for one in sheet]
    told = [[claim for claim in some if claim.kind == "statement"] for some in wrong]
    some = sum(map(bool, wrong))
    low, high = proportion_confint(some, len(sheet), method="beta")
    return LabelReport(
        labeller=labeller,
        explanations=len(sheet),
        claims=sum(len(claims) for claims in of.values()),
        unsupported=_shares(map(len, wrong), [len(of[one.id]) for one in sheet], users),
        explanations_unsupported=(some / len(sheet), float(low), float(high)),
        statements=_shares(map(len, told), [len(of[one.id]) for one in sheet], users),
        objected={
            one.id: tuple(f"{claim.text}: {claim.why or claim.kind}" for claim in claims)
            for one, claims in zip(sheet, wrong, strict=True)
            if claims
        },
    )


def agreements(reports: Sequence[LabelReport]) -> list[Agreement]:
    """How far each two labellers agree on which explanations say too much."""
    return [_agreement(a, b) for a, b in combinations(reports, 2)]


def _agreement(a: LabelReport, b: LabelReport) -> Agreement:
    from sklearn.metrics import cohen_kappa_score

    ids = sorted({*a.objected, *b.objected})
    neither = a.explanations - len(ids)
    first = [one in a.objected for one in ids] + [False] * neither
    second = [one in b.objected for one in ids] + [False] * neither
    same = float(np.mean(np.array(first) == np.array(second)))
    constant = len(set(first)) == 1 or len(set(second)) == 1
    kappa = None if constant else float(cohen_kappa_score(first, second))
    return Agreement(labellers=(a.labeller, b.labeller), same=same, kappa=kappa)


def _shares(wrong: Iterable[int], claims: Sequence[int], users: Sequence[str]) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    above, below = np.array(list(wrong), dtype=np.float64), np.array(claims, dtype=np.float64)
    found: Estimate = ratio_of_means(above, below, users, rng)
    return found.value, found.low, found.high


def _fields(item: Fields) -> Fields:
    """What an item says of itself, its attributes among the other fields, without what is empty."""
    attributes = item.pop("attributes", None)
    every = item | (attributes if isinstance(attributes, dict) else {})
    hidden = {"available", "links", "media"}
    return {name: value for name, value in every.items() if name not in hidden and value not in (None, [], "")}


def _read(path: Path, kind: type[Model]) -> list[Model]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [kind.model_validate_json(line) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, ValidationError) as exc:
        raise UsageError(
            f"{path} cannot be read: {exc}", hint="eval/studies/labels/README.md says what a line is"
        ) from exc
