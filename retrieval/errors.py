"""The errors of retrieval, and the root of every error that XDRec raises on purpose.

    XDRecError
    ├── UsageError              2  the request makes no sense (unknown domain, user, strategy …)
    ├── SetupError              3  something has to be made first
    │   ├── ModelMissing           the model's files are not here
    │   ├── IndexMissing           the domain was never indexed
    │   └── IndexMismatch          the index was made by another encoder or template
    ├── BackendError            3  a database or vector store failed
    │   ├── StoreError             translated from SQLAlchemy
    │   └── VectorStoreError       translated from Chroma
    ├── DataError               5  a file or row is not what it should be
    │   ├── UnreadableFile
    │   ├── BadRow                 the first bad row under --strict
    │   └── TemplateError          a template does not load, lacks a variable or does not render
    └── TitleError              6  a title does not name exactly one item
        ├── UnknownTitle
        └── AmbiguousTitle

The number is the exit code of the command line. `xdrec_agent.errors` grows the LLM's branch on the same root.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class XDRecError(Exception):
    """Root of the tree.

    Attributes:
        hint: the next command to run or thing to change, one line; empty if there is none.
        retryable: whether the same call may succeed a moment later.
        exit_code: what the command line exits with.
        http_status: what the service answers with.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(XDRecError):
    """The request makes no sense; nothing was done."""

    exit_code = 2
    http_status = 400


class SetupError(XDRecError):
    """Something has to be made first; `hint` names the command that makes it."""

    exit_code = 3
    http_status = 503


class ModelMissing(SetupError):
    """A model's files are not on this machine."""


class IndexMissing(SetupError):
    """The domain has items but no index."""


class IndexMismatch(SetupError):
    """The index was made by another encoder or item template than the configured ones."""


class BackendError(XDRecError):
    """A database or vector store failed."""

    exit_code = 3
    http_status = 503
    retryable = True


class StoreError(BackendError):
    """The SQL database failed or cannot be reached."""


class VectorStoreError(BackendError):
    """Chroma failed or cannot be reached."""


class DataError(XDRecError):
    """A file, row or template is not what it should be."""

    exit_code = 5
    http_status = 422


class UnreadableFile(DataError):
    """The file does not exist, is cut off, or is not in the named format."""


class BadRow(DataError):
    """A row was refused and `--strict` was given."""


class TemplateError(DataError):
    """A template does not load, lacks a variable, or does not render."""


class TitleError(XDRecError):
    """A title does not name exactly one item. `nearest` holds the titles that come closest, best first."""

    exit_code = 6
    http_status = 404

    def __init__(self, message: str, *, nearest: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.nearest = nearest


class UnknownTitle(TitleError):
    """No item has this title or one close to it."""


class AmbiguousTitle(TitleError):
    """Several items have this title or are equally close to it."""

    http_status = 409


@contextmanager
def optional_packages(what: str, extra: str) -> Iterator[None]:
    """Around imports of packages that an extra of the installation brings.

    Args:
        what: what needs them, as the message begins.

    Raises:
        SetupError: one of them is not installed.
    """
    try:
        yield
    except ImportError as exc:
        message = f"{what} needs a package that is not installed: {exc.name or exc}"
        raise SetupError(message, hint=f"pip install 'xdrec[{extra}]'") from exc
