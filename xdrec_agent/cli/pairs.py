"""Pairs of domains on the command line. Reads `--pair` and `--without`, produces the pairs that are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Annotated, TypeAlias

import typer

from retrieval.errors import UsageError

PairOption: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="SOURCE:TARGET", help="A pair to learn; again for more. Default: all.")
]
WithoutOption: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="DOMAIN", help="Learn nothing of this domain; again for more.")
]


def pairs_of(named: Sequence[str] | None, without: Sequence[str] | None, known: Sequence[str]) -> list[tuple[str, str]]:
    """The named pairs, or all, less those of the domains to leave out. Raises UsageError."""
    pairs = []
    for text in named or ():
        source, colon, target = text.partition(":")
        if not (source and colon and target):
            raise UsageError(f"--pair {text!r} is not SOURCE:TARGET", hint="for example --pair films:books")
        pairs.append((source, target))
    if unknown := sorted(set(without or ()) - set(known)):
        raise UsageError(f"--without {unknown[0]!r}: there is no such domain", hint=f"there are: {', '.join(known)}")
    kept = [pair for pair in pairs or permutations(known, 2) if not set(pair) & set(without or ())]
    if not kept:
        raise UsageError("no pair of domains is left to learn", hint="training needs two domains")
    return kept
