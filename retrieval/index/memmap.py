"""Arrays in files. Reads a shape, produces an array that is written on disk as it is filled, not held in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def new_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new .npy file, memory-mapped for writing; call `flush` on it at the end."""
    made: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)  # type: ignore[no-untyped-call] # of numpy
    return made
