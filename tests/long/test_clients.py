"""Clients that others wrote, at a node: a library that hides providers, and a benchmark that streams."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import free_port
from nodes import ADDRESSES, configured, node

from testbed.core.clock import REAL_TIME
from testbed.models import zoo
from testbed.node.calls import asking
from testbed.node.engine.model import ChatModel
from testbed.node.event_log import EventWriter

PROGRAMS = Path(__file__).parents[1] / "client_programs.py"
CLIENTS = ("litellm==1.110.2", "llmeter[openai]==0.2.0")

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the clients' own: what they need is nothing to the testbed."""
    folder = tmp_path_factory.mktemp("clients")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    found = folder / "bin" / "python"
    subprocess.run([found, "-m", "pip", "install", "--quiet", "--upgrade", "pip"], check=True)
    subprocess.run([found, "-m", "pip", "install", "--quiet", *CLIENTS], check=True)
    return found


@pytest.fixture
def ask(python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """What a program prints of a node with a real model."""
    monkeypatch.setattr(asking, "PORT", port := free_port())
    model = ChatModel(zoo.path("alpha"), context=512, threads=1)

    async def play(name: str) -> dict[str, Any]:
        config = configured("a", {})
        trace = EventWriter(tmp_path / "a.jsonl", "a", REAL_TIME)
        async with node(config, model, trace, tmp_path, ADDRESSES["a"], patience=600):
            base = f"http://{ADDRESSES['a']}:{port}/v1"
            program = await asyncio.create_subprocess_exec(
                python, PROGRAMS, name, base, config.model, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await program.communicate()
            assert program.returncode == 0
            printed: dict[str, Any] = json.loads(output.splitlines()[-1])
            return printed

    return lambda name: asyncio.run(play(name))


def test_litellm_completes_chats_and_texts(ask: Ask) -> None:
    printed = ask("litellm_chats")
    assert printed["plain"] == printed["streamed"] != ""
    assert printed["tokens"] > 0
    assert isinstance(printed["text"], str)


def test_a_benchmark_measures_a_stream(ask: Ask) -> None:
    printed = ask("llmeter_chats")
    assert printed["error"] is None
    assert printed["text"]
    assert 0 < printed["first"] <= printed["last"]
    assert printed["read"] > 0
    assert printed["written"] > 0
