"""Drawing ahead. Reads how the n-th group of an epoch is drawn, produces groups in order before they are asked for.

A GPU learns from a group faster than one process draws it, so there others draw; a CPU has nothing to give away.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_EACH: Final = 16
"""Groups that each process is ahead."""
_NO_END: Final = 2**62


class Ahead(Generic[T]):
    """Groups in order.

    Args:
        draw: epoch and index → group; must not depend on what was drawn before.
        size: groups in an epoch.
        processes: that draw; 0: the asking one does. None: all but one of the machine's cores.
    """

    def __init__(self, draw: Callable[[int, int], T], size: int, processes: int | None = 0) -> None:
        self._draw = draw
        self._size = size
        self._processes = max(1, (os.cpu_count() or 1) - 1) if processes is None else processes
        self._next = -1
        self._drawn: Iterator[T] = iter(())

    def __getitem__(self, number: int) -> T:
        """The group of a running number, counted from the first epoch's first."""
        return self._draw(*divmod(number, self._size))

    def take(self, epoch: int, indices: Sequence[int]) -> list[T]:
        """The groups of an epoch at these places."""
        if not self._processes:
            return [self._draw(epoch, index) for index in indices]
        return [self._one(epoch * self._size + index) for index in indices]

    def _one(self, number: int) -> T:
        if number != self._next:
            self._drawn = self._from(number)
        self._next = number + 1
        return next(self._drawn)

    def _from(self, number: int) -> Iterator[T]:
        from torch.utils.data import DataLoader

        return iter(
            DataLoader(
                self,  # type: ignore[arg-type] # a map-style data set needs no more than an index
                batch_size=None,
                sampler=range(number, _NO_END),
                num_workers=self._processes,
                prefetch_factor=_EACH,
                collate_fn=_as_it_is,
                multiprocessing_context="fork",
            )
        )


def _as_it_is(group: T) -> T:
    return group
