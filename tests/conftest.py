"""What all tests share: how they are spread over processes, and which of the long ones are due.

No test fails because the machine is busy: hypothesis has no deadline here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes of as many threads as there are cores only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
PASSED = Path(__file__).with_name("long_passed.json")
"""By long test, the digest of its subjects when it passed last; `make test-all` writes it."""


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="Run the long tests, too, whose subjects have not changed.")


def pytest_xdist_make_scheduler(config, log):
    return _ByFile(config, log)


class _ByFile(LoadScopeScheduling):
    """Tests of one file share a process, and so do all that share the one vLLM server."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return "vllm" if "/vllm/" in file else file


def pytest_collection_modifyitems(config, items):
    """What takes longest starts first; long tests that are not due stay out."""
    items.sort(key=_place)
    passed = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
    marked = [] if config.option.long else [item for item in items if item.get_closest_marker("long")]
    idle = {item for item in marked if passed.get(_key(item)) == _digest(item)}
    config.hook.pytest_deselected(items=list(idle))
    items[:] = [item for item in items if item not in idle]


def _place(item):
    # The last test that uses the vLLM server kills it.
    file = item.path.as_posix()
    return ("/vllm/" not in file, "/integration/" not in file, item.get_closest_marker("last") is not None)


def _key(item):
    return f"{item.path.relative_to(ROOT).as_posix()}::{item.originalname}"


def _digest(item):
    """SHA-256 (hex) of the test's own file and of all that its mark names."""
    patterns = item.get_closest_marker("long").args
    files = {item.path, *(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.when == "call" and item.get_closest_marker("long"):
        report.user_properties.append(("long", [_key(item), _digest(item)]))
    return report


_ended = defaultdict(list)


def pytest_runtest_logreport(report):
    for name, value in report.user_properties:
        if name == "long":
            _ended[tuple(value)].append(report.passed)


def pytest_sessionfinish(session):
    """With --long, keep which long tests passed, and with what."""
    if not session.config.option.long or hasattr(session.config, "workerinput"):
        return
    known = json.loads(PASSED.read_text(encoding="utf-8")) if PASSED.exists() else {}
    known |= {key: digest for (key, digest), ends in _ended.items() if all(ends)}
    PASSED.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")
