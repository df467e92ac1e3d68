"""The promise of the description: no request makes the service fail, and no answer is one that it does not document."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service_kit import opener, settings_at

from xdrec_agent.service.app import create_app

_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def description(home):
    """The description of a service that listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(create_app(settings_at(home), opener()), log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield schemathesis.openapi.from_url(f"http://127.0.0.1:{listener.getsockname()[1]}/openapi.json")
        finally:
            server.should_exit = True
            thread.join()


def test_no_request_breaks_the_service_or_its_description(description):
    """Valid and invalid requests of every kind, to every route."""
    operations = [found.ok() for found in description.get_all_operations()]
    assert len(operations) > 5
    for operation in operations:
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            _try(operation, mode)


def _try(operation, mode):
    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def tried(case):
        case.call_and_validate(checks=_CHECKS)

    with suppress(Unsatisfiable):  # a route that takes nothing cannot be asked wrongly
        tried()
