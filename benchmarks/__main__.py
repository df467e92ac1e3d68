"""`python -m benchmarks`. Runs one benchmark, with the clear errors of `xdrec-eval`."""

from __future__ import annotations

import sys

from benchmarks.cli import app
from retrieval.errors import XDRecError
from xdrec_agent.cli.context import print_error

if __name__ == "__main__":
    try:
        app(prog_name="python -m benchmarks")
    except XDRecError as exc:
        print_error(exc, as_json=False)
        sys.exit(exc.exit_code)
