"""Memory in a training on a CPU. Reads nothing, produces a C library that keeps what is freed.

A step takes gigabytes for what the backward pass needs and gives them back, so the next one would wait for the kernel
to hand out and clear the same pages again (docs/experiments.md has what that costs).
"""

from __future__ import annotations

import ctypes
from typing import Final

# From malloc.h of the GNU C library.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4
_NEVER: Final = -1


def keep_freed_memory() -> bool:
    """Have this process keep freed memory until it ends; False where the C library cannot be told to (not GNU's)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _NEVER))
