"""Several calls at once. Reads coroutines, produces their results in order, or the first error."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from retrieval.errors import XDRecError

T = TypeVar("T")


async def gathered(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all; if one fails the others are cancelled and its error is raised as itself, not in a group.

    Raises:
        XDRecError: the first that a call raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* XDRecError as failed:
        error: BaseException = failed
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return [task.result() for task in tasks]
