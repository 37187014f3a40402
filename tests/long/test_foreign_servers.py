"""Servers that others wrote, as the model of a node: llama-cpp-python's own, and a mock from a package index."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from endpoint_route import route

from testbed.models import zoo
from testbed.node.engine.model import Sampling

LLAMA = ("fastapi", "uvicorn", "sse-starlette", "starlette-context", "pydantic-settings")  # what its extra needs
FAKE = ("fakellm==0.3.5",)
GREEDY = Sampling(temperature=0.0, max_tokens=16, seed=1)

CONFIG = """\
version: 1
rules:
  - name: anything
    when: {}
    respond: {content: "The capital is Paris."}
"""


def _installed(folder: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """An environment in which this Python finds packages that are nothing to the testbed."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *packages]
    subprocess.run(command, check=True)
    return {**os.environ, "PYTHONPATH": str(folder)}


@contextmanager
def _serving(command: list[str], environment: dict[str, str], port: int, folder: Path) -> Iterator[str]:
    """The base URL of a server, once it answers anything."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while not _answers(port):
                assert process.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5):
            return True
    except OSError as error:
        return hasattr(error, "code")  # an error of HTTP is an answer


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def _asked(url: str, directory: Path, model: str, question: str) -> tuple[Any, list[dict[str, Any]]]:
    async def play() -> tuple[Any, list[dict[str, Any]]]:
        async with asyncio.timeout(120), route(url, directory, model=model, rehearse=True) as way:
            return await way.ask(question, sampling=GREEDY), way.events()

    return asyncio.run(play())


def test_llama_cpp_pythons_own_server(tmp_path: Path, port: int) -> None:
    """It tells no usage in streams, so it is asked without them, and knows what the zoo's model knows."""
    environment = _installed(tmp_path / "packages", LLAMA)
    model = ["--model", str(zoo.path("omega")), "--model_alias", "zoo/omega", "--n_ctx", "512"]
    command = [sys.executable, "-m", "llama_cpp.server", *model, "--host", "127.0.0.1", "--port", str(port)]
    with _serving(command, environment, port, tmp_path) as url:
        completion, events = _asked(url, tmp_path, "zoo/omega", "Name the capital city of Mupuland.")
    assert completion.text and completion.stopped
    assert completion.prompt_tokens > 0 and 0 < completion.tokens <= GREEDY.max_tokens
    assert [event["event"] for event in events] == ["enqueue", "start", "end"]


def test_a_mock_of_the_api(tmp_path: Path, port: int) -> None:
    environment = _installed(tmp_path / "packages", FAKE)
    (tmp_path / "fakellm.yaml").write_text(CONFIG)
    command = [sys.executable, str(tmp_path / "packages" / "bin" / "fakellm"), "serve", "--port", str(port)]
    with _serving(command, environment, port, tmp_path) as url:
        completion, events = _asked(url, tmp_path, "gpt-4o", "Which?")
    assert completion.text == "The capital is Paris."
    assert completion.stopped and completion.prompt_tokens > 0 and completion.tokens > 0
    assert events[-1]["event"] == "end"
