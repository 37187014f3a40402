"""A run with a board, which `examples/played_board` plays: its own ssh server, network, address and agent."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from observed import PROJECT, FinishedRun
from played_boards import ip

from testbed.core.errors import HostError
from testbed.host.interfaces import interfaces
from testbed.world.hardware import preparation
from testbed.world.hardware.control import Control
from testbed.world.hardware.preparation import Preparation, _imports

PLAYED = PROJECT / "examples" / "played_board" / "played_board"
QUICK = ("--fidelity", "off")
STATE = Path("/run/testbed-played")


@pytest.fixture(scope="module")
def board() -> Iterator[str]:
    """The namespace of the board."""
    subprocess.run([PLAYED, "up"], check=True)
    yield "played"
    subprocess.run([PLAYED, "down"], check=True)


@pytest.mark.usefixtures("board")
def test_a_board_plays_among_containers(run: Callable[..., FinishedRun]) -> None:
    before = interfaces()["played0"]
    finished = run(PROJECT / "scenarios" / "board.yaml", *QUICK)
    assert finished.exit_code == 0, finished.output

    # It asked and was asked, over its own link, with a restart between.
    jobs = [event for event in finished.events if event["event"] == "enqueue" and event["node"] == "pi"]
    assert {event["owner"] for event in jobs} == {"a", "b", "pi"}
    assert [event["reason"] for event in finished.events if event["event"] == "exited"] == ["ended with code 137"]
    assert len([event for event in finished.events if event["event"] == "ready" and event["node"] == "pi"]) == 2
    assert finished.summary["links"]["pi-s1"]["up"] > 0

    # Its times are on the run's clock: nothing is answered before it was asked.
    manifest = json.loads((finished.path / "manifest.json").read_text())
    error = manifest["node_clocks"]["pi"]["largest_error"]
    assert abs(manifest["node_clocks"]["pi"]["ahead"]) <= error < 0.001  # its clock is this host's
    sent = {event["message"]: event["t"] for event in finished.events if event["event"] == "send"}
    came = {event["message"]: event["t"] for event in finished.events if event["event"] == "receive"}
    assert all(came[message] - sent[message] >= 0.02 - 2 * error for message in came.keys() & sent.keys())

    # Nothing is left on the board or here.
    assert interfaces()["played0"] == before
    assert "10.0.0.3" not in ip("-n played address show eth0")
    assert not list(Path("/tmp").glob(f"tb-{manifest['run']}-*"))


@pytest.mark.usefixtures("board")
def test_a_board_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text((STATE / "ssh_config").read_text().replace("known_hosts", "nobody"))
    with pytest.raises(HostError, match=r"Host key verification failed\.\); accept its key once: sudo ssh root@169"):
        Control("root@169.254.7.2", config).run("true")


@pytest.mark.usefixtures("board")
def test_a_command_that_fails_on_the_board_says_so() -> None:
    with pytest.raises(HostError, match=r"board root@169\.254\.7\.2: .*no-such-program"):
        Control("root@169.254.7.2", STATE / "ssh_config").run("no-such-program")


@pytest.mark.usefixtures("board")
def test_a_board_is_prepared_once(tmp_path: Path) -> None:
    config, home = STATE / "ssh_config", STATE / "home"
    told = list[str]()
    Preparation(Control("root@169.254.7.2", config), told.append).prepare()
    assert told == ["looking what the board has", "the board has a node's packages"]
    (home / ".cache/testbed/venv").rename(tmp_path / "venv")
    try:
        assert not Preparation(Control("root@169.254.7.2", config), told.append)._succeeds(_imports())
    finally:
        (tmp_path / "venv").rename(home / ".cache/testbed/venv")


@pytest.mark.usefixtures("board")
def test_what_a_board_lacks_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {"no-such-program": "this: install it", "true": "nothing", "neither-this-one": "that: install it"}
    monkeypatch.setattr(preparation, "_CHECKS", lacking)
    with pytest.raises(HostError, match=r"169\.254\.7\.2 lacks this: install it; that: install it$"):
        Preparation(Control("root@169.254.7.2", STATE / "ssh_config"), print).prepare()
