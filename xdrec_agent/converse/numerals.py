"""Numbers in titles. Reads a key, produces it with digits: "Twelve Years a Slave" is "12 Years a Slave"."""

from __future__ import annotations

import re
from typing import Final

_SMALL: Final = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
}
_TENS: Final = dict(zip("thirty forty fifty sixty seventy eighty ninety".split(), range(30, 100, 10), strict=True))
_WORDS: Final = _SMALL | _TENS
_SCALES: Final = {"hundred": 100, "thousand": 1_000}
_HAS: Final = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b|[0-9]")


def with_digits(key: str) -> str | None:
    """The key with its number words as digits ("nineteen eighty four" is 1984); None: it has no number in it."""
    if not _HAS.search(key):
        return None
    out: list[str] = []
    for word in key.split():
        if word in _SCALES and out and out[-1].isdigit():
            out[-1] = str(int(out[-1]) * _SCALES[word])
        elif word in _WORDS:
            _append(out, _WORDS[word])
        else:
            out.append(word.replace(",", ""))
    return " ".join(out)


def _append(out: list[str], value: int) -> None:
    """Add a number word: "eighty four" is one number, and so is a year said in two halves."""
    before = int(out[-1]) if out and out[-1].isdigit() else None
    if before is not None and 20 <= before < 100 and before % 10 == 0 and value < 10:
        out[-1] = str(before + value)
    elif before is not None and 10 < before < 100 and 10 <= value < 100:
        out[-1] = f"{before}{value}"
    elif before is not None and before > 999 and before % 10 == 0 and 0 < value < 10:
        out[-1] = str(before + value)
    else:
        out.append(str(value))
