"""Folds of users. Reads a user, produces the fold that they belong to."""

from __future__ import annotations

import hashlib


def stable_hash(text: str) -> int:
    """The first 8 bytes of the text's SHA-256 as a number, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def fold(user: str, folds: int, seed: int = 0) -> int:
    """The user's fold in [0, folds), by hash: it depends on nothing but the user, the number of folds and the seed."""
    return stable_hash(f"{seed}:{user}") % folds
