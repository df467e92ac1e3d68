"""Folds of users. Reads a user, produces the fold that they belong to."""

from __future__ import annotations

import hashlib


def fold(user: str, folds: int, seed: int = 0) -> int:
    """The user's fold in [0, folds), by hash: it depends on nothing but the user, the number of folds and the seed."""
    digest = hashlib.sha256(f"{seed}:{user}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % folds
