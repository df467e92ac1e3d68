"""Logs. Reads log records, produces JSON lines that hold nobody's words unless `service.log_text` is set."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class JsonLines(logging.Formatter):
    """One JSON object a line; what was given as `extra={"fields": …}` stands in it by name.

    Args:
        log_text: whether an exception is shown with what it says. That may hold what somebody wrote (a refused value,
            a parameter of a statement, a model's reply), so that otherwise only its kind and the places are shown.
    """

    def __init__(self, *, log_text: bool = False) -> None:
        super().__init__()
        self._log_text = log_text

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = (
                self.formatException(record.exc_info) if self._log_text else wordless(record.exc_info[1])
            )
        return json.dumps(line, ensure_ascii=False, default=str)

    def _message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        # asyncio puts whole exceptions and what a task works on into its messages, from the second line on.
        return message.partition("\n")[0] if record.name == "asyncio" and not self._log_text else message


def wordless(error: BaseException | None) -> str:
    """An exception and those that led to it, the last one first: the kind of each and where it was raised."""
    lines = []
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        at = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
        lines.append(f"{type(error).__module__}.{type(error).__qualname__} at {at}")
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def log_to_stderr(level: int = logging.INFO, *, log_text: bool = False) -> None:
    """Have everything that is logged in this process come out as JSON lines; `log_text`: as `JsonLines`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(log_text=log_text))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("httpx", "httpx2", "sse_starlette", "chromadb", "mcp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
