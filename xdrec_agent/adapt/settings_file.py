"""The file of settings. Reads and writes xdrec.toml, keeping comments and everything that is not changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from retrieval.errors import SetupError, UsageError
from xdrec_agent.adapt.checkpoint import written

Value = str | dict[str, str] | None


def set_llm(path: Path, values: Mapping[str, Value]) -> None:
    """Set values of the section [llm]; None takes one out. The file is made where it is missing.

    Raises:
        UsageError: the file is not TOML.
        SetupError: tomlkit is not installed.
        BackendError: it cannot be written; it stays as it was.
    """
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
    except ImportError as exc:
        raise SetupError("tomlkit is not installed", hint="pip install 'xdrec[adapt]'") from exc
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8") if path.is_file() else "")
    except (TOMLKitError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: {exc}", hint="mend the file") from exc
    section = document.setdefault("llm", tomlkit.table())
    for name, value in values.items():
        if value is None:
            section.pop(name, None)
        elif isinstance(value, dict):
            section[name] = tomlkit.inline_table() | value
        else:
            section[name] = value
    partial = path.with_name(f".{path.name}.partial")

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(tomlkit.dumps(document), encoding="utf-8")
        os.replace(partial, path)

    written(write, path, partial)
