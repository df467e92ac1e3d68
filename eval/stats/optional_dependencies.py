"""Optional packages. Reads what they are for, produces a clear error where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from retrieval.errors import SetupError


@contextmanager
def optional_packages(what: str) -> Iterator[None]:
    """Around imports of packages that come with the extra `eval`.

    Raises:
        SetupError: one of them is not installed.
    """
    try:
        yield
    except ImportError as exc:
        raise SetupError(
            f"{what} needs a package that is not installed: {exc}", hint="pip install 'xdrec[eval]'"
        ) from exc
