"""deploy/: what is promised of it, and that Compose accepts it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from xdrec_agent.cli import app
from xdrec_agent.settings import Settings

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


def runs(*command):
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_compose_accepts_the_file():
    """`docker compose config` reads it; where there is none, the published schema (of check-jsonschema) does."""
    file = str(DEPLOY / "compose.yaml")
    if runs("docker", "compose", "version"):
        command = ["docker", "compose", "--file", file, "config", "--quiet"]
    elif importlib.util.find_spec("check_jsonschema"):
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    else:
        pytest.skip("neither docker compose nor check-jsonschema is installed")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


WORKFLOWS = sorted((DEPLOY.parent / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize(
    "command",
    [
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)],
        ["zizmor", "--offline", "--no-progress", *map(str, WORKFLOWS)],
        ["hadolint", "--failure-threshold", "warning", str(DEPLOY / "Dockerfile")],
    ],
    ids=lambda command: command[0],
)
def test_linters_accept_what_only_others_can_run(command):
    """The workflows fit their schema and have no known weakness; the Dockerfile keeps to good practice."""
    program = str(Path(sys.executable).with_name(command[0]))
    found = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr


def test_there_are_service_model_chroma_and_postgres_each_watched_over():
    """All four are there, each of a named version, with a health check, and started again when they end."""
    assert set(SERVICES) == {"xdrec", "vllm", "chroma", "postgres"}
    for name, service in SERVICES.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped"
        version = service.get("image", "").rpartition(":")[2]
        assert "build" in service or any(letter.isdigit() for letter in version), name


def test_no_password_stands_in_the_file():
    """Secrets are files that somebody makes; nothing in an environment or a command is one or has a default."""
    assert {name: secret["file"] for name, secret in COMPOSE["secrets"].items()} == {
        "database_password": "./secrets/database_password",
        "llm_key": "./secrets/llm_key",
    }
    assert not [file for file in (DEPLOY / "secrets").iterdir() if file.name not in {".gitignore", *COMPOSE["secrets"]}]
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            secret = any(word in name for word in ("PASSWORD", "KEY", "TOKEN"))
            assert not secret or str(value).startswith("/run/secrets/"), name
            assert ":" not in str(value).partition("://")[2].partition("@")[0] or "@" not in str(value), name


def test_only_the_service_is_reachable_and_only_from_this_machine():
    """One port is published, on the loopback interface; the model listens nowhere else, so histories stay inside."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["xdrec"]
    assert all(port.startswith("127.0.0.1:") for port in published["xdrec"])
    assert SERVICES["vllm"]["network_mode"] == "service:xdrec"
    assert "--host 127.0.0.1" in SERVICES["vllm"]["command"][0]


def test_secrets_reach_the_service_as_settings(tmp_path):
    """The entry point hands its arguments on, and does without secrets that are not mounted."""
    tool = tmp_path / "xdrec"
    tool.write_text('#!/bin/sh\necho "$@" "${PGPASSWORD-none}"\n')
    tool.chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}"}
    said = subprocess.run(
        ["sh", str(DEPLOY / "entrypoint.sh"), "serve", "--host", "0.0.0.0"],  # noqa: S104
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "serve --host 0.0.0.0 none\n"


def test_the_image_runs_as_nobody_special():
    """The image's last user is not root, and it is made of the wheel with the pinned versions."""
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER xdrec"]
    assert any("--constraint /tmp/constraints.txt" in line for line in lines)


def test_the_images_own_command_serves_the_demo_pack_with_what_lies_in_the_image():
    """`docker run` alone serves films-books: pack and default encoder are copied in; Compose serves the user's own."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    command = json.loads(re.search(r"^CMD (.*)$", text, re.MULTILINE)[1])
    source, target = re.search(r"^COPY (examples/\S+) (\S+)$", text, re.MULTILINE).groups()
    assert command == ["demo", target, "--serve", "--host", "0.0.0.0"]  # noqa: S104
    assert (DEPLOY.parent / source / "demo.yaml").is_file()
    assert f"RUN xdrec models pull {Settings().encoder.model}\nVOLUME" in text
    assert SERVICES["xdrec"]["command"] == ["serve", "--host", "0.0.0.0"]  # noqa: S104
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert (shown.exit_code, "--serve" in shown.stdout) == (0, True)
