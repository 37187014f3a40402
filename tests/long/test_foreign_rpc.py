"""llama.cpp's RPC backend on four nodes, as `scenarios/foreign_rpc.yaml` runs it. Its image is compiled once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet
import pytest

from testbed.host.image import ensure_llama_rpc
from testbed.host.machine import connect_docker

PROJECT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ensure_llama_rpc(connect_docker(), print)
    path = tmp_path_factory.mktemp("rpc") / "run"
    scenario = PROJECT / "scenarios" / "foreign_rpc.yaml"
    command = [sys.executable, "-m", "testbed", "run", str(scenario), "--out", str(path), "--fidelity", "off"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


def _events(directory: Path, kind: str) -> list[dict[str, Any]]:
    events = map(json.loads, (directory / "events.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == kind]


def test_every_prompt_gets_all_of_its_tokens(directory: Path) -> None:
    assert [event["tokens"] for event in _events(directory, "end")] == [48] * 4


def test_the_client_is_ready_after_the_servers_that_it_waits_for(directory: Path) -> None:
    ready = {event["node"]: event["t"] for event in _events(directory, "ready")}
    assert ready["a"] > max(ready[server] for server in "bcd")


def test_the_client_sends_the_weights_and_every_token_to_each_server_and_servers_send_nothing_to_each_other(
    directory: Path,
) -> None:
    begin, end = (event["links"] for event in _events(directory, "traffic"))
    rows = pyarrow.parquet.read_table(directory / "samples.parquet").to_pylist()
    weights = 13 / 17 * 108e6  # of 16 layers and the output matrix, encoded; the embedding stays with the client
    assert sum(begin[link]["up"] for link in ("a-b", "a-c", "a-d")) == pytest.approx(weights, rel=0.2)
    for link in begin:
        carried = sum(end[link].values()) - sum(begin[link].values())
        sampled = [row["up"] + row["down"] for row in rows if row["link"] == link]
        assert sampled == sorted(sampled)
        assert (carried > 192 * 2 * 4096) == link.startswith("a-")  # two rows of 1,024 values for every token
