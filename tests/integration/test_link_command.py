"""``testbed link``: links of a run that goes on are shown, changed, cut and mended from another process."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from observed import GOSSIP, PROJECT, run_of, start

from testbed.analysis.eavesdropping import frames

pytestmark = pytest.mark.measures


def _testbed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROJECT / ".venv" / "bin" / "testbed"), *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("kept") / "run"
    process = start("run", GOSSIP, "--keep", "--fidelity", "off", "--set", "workload.count=1", "--out", directory)
    output = process.communicate()[0]
    assert process.returncode in (0, 1), output
    run = json.loads((directory / "summary.json").read_text())["run"]
    yield run
    assert _testbed("clean", run).returncode == 0


def _round_trip(run: str) -> float:
    """Milliseconds of the fastest of five pings from node a to node b, whose addresses are the first two."""
    command = ["ip", "netns", "exec", f"tb-{run}-a", "ping", "-q", "-c", "5", "-i", "0.2", "10.0.0.2"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(output.rsplit("=", 1)[1].split("/")[0])


def test_one_direction_is_changed_and_the_rest_stays(kept_run: str) -> None:
    assert 40 <= _round_trip(kept_run) < 60
    changed = _testbed("link", kept_run, "a-s1", "--delay", "80ms", "--way", "up")
    assert changed.returncode == 0, changed.stderr
    assert "80 ms" in changed.stdout and "10 mbit" in changed.stdout
    assert 110 <= _round_trip(kept_run) < 130
    _testbed("link", kept_run, "a-s1", "--delay", "10ms")
    assert 40 <= _round_trip(kept_run) < 60


def test_a_link_goes_down_and_up(kept_run: str) -> None:
    assert _testbed("link", kept_run, "a-s1", "--state", "down").returncode == 0
    with pytest.raises(subprocess.CalledProcessError):
        _round_trip(kept_run)
    assert _testbed("link", kept_run, "a-s1", "--state", "up").returncode == 0
    assert 40 <= _round_trip(kept_run) < 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a-x", "--delay", "1ms"], "a-x: there is no such link; known are a-s1, b-s1, c-s1, d-s1"),
        (["a-s1", "--delay", "10"], "--delay: 10 has no unit; write it like 10ms"),
        (["a-s1", "--loss", "120%"], "--loss: '120%' must be at most 100%"),
        (
            ["a-s1", "--jitter", "50ms"],
            "a-s1: a jitter of 50 ms is more than the delay of 10 ms",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(kept_run: str, arguments: list[str], sentence: str) -> None:
    refused = _testbed("link", kept_run, *arguments)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_run_that_is_not_there_is_named() -> None:
    refused = _testbed("link", "nosuch", "a-s1", "--delay", "1ms")
    assert refused.returncode == 2
    assert "no run 'nosuch' stands on this host" in refused.stderr


def test_a_change_during_a_run_is_an_event_of_it(tmp_path: Path) -> None:
    process = start("run", GOSSIP, "--fidelity", "off", "--set", "workload.count=20", "--out", tmp_path / "run")
    while not (run := run_of(process)) or not Path("/run/testbed", run, "links/links.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    assert _testbed("link", run, "b-s1", "--delay", "15ms").returncode == 0
    output = process.communicate()[0]
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert [event["down"] for event in events if event["event"] == "link"] == [{"delay": 0.015}], output


def test_a_link_is_recorded_by_hand(kept_run: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    runner = start("capture", kept_run, "a-s1", "--out", path)
    while not path.exists() or path.stat().st_size == 0:  # its beginning is written once it listens
        assert runner.poll() is None, runner.communicate()[0]
        time.sleep(0.05)
    _round_trip(kept_run)
    runner.send_signal(signal.SIGINT)
    said, _ = runner.communicate()
    assert runner.returncode == 0, said
    pings = [frame for frame in frames(path) if frame[12:14] == b"\x08\x00" and frame[23] == 1]  # IPv4, ICMP
    assert len(pings) == 10  # five there and five back
    refused = _testbed("capture", kept_run, "a-x")
    assert (refused.returncode, refused.stderr.split(";")[0]) == (2, "a-x: there is no such link")
