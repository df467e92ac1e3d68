"""Writes docs/reference/cli.md from the commands. Run: .venv/bin/python scripts/cli_reference.py [--check]"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import eval.cli
import xdrec_agent.cli

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"


def commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Every command below `group` with its full name, in the order of `--help`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def section(name: str, command: Any) -> str:
    """One command: what it does, its parameters, its examples."""
    text = inspect.cleandoc(command.help or "").replace("\b", "").strip()
    purpose, _, rest = text.partition("\n")
    lines = [f"## {name}", "", purpose, ""]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        names = ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts))
        shown = names if names.startswith("`-") else f"`{parameter.metavar or parameter.name.upper()}`"
        lines.append(f"- {shown}: {(getattr(parameter, 'help', '') or '').strip()}")
    return "\n".join([*lines, "", "```", rest.strip(), "```", ""])


def reference() -> str:
    """The whole page."""
    head = "# Commands\n\nMade by `scripts/cli_reference.py`; `xdrec COMMAND --help` says the same.\n\n"
    programs = {"xdrec": xdrec_agent.cli.app, "xdrec-eval": eval.cli.app}
    found = [c for name, app in programs.items() for c in commands(typer.main.get_command(app), (name,))]
    return head + "\n".join(section(name, command) for name, command in found)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        TARGET.write_text(reference(), encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != reference():
        sys.exit("docs/reference/cli.md is out of date: run .venv/bin/python scripts/cli_reference.py")
