"""Random timelines on real nodes: what was drawn is kept, breaches are found, and nothing is left behind."""

import fcntl
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest
from observed import PROJECT, FinishedRun, start
from pyroute2 import netns

from testbed.host.image import ensure_image
from testbed.schema.scenario import load_scenario
from testbed.world.journal import JOURNALS
from testbed.world.leaks import Possessions
from testbed.world.world import SHARED

SCENARIO = PROJECT / "scenarios" / "chaos.yaml"
ONE_CORE = ("--set", "oversubscribe=true", "--fidelity", "off")  # which is all that the host may have


@pytest.mark.usefixtures("nothing_left")
def test_runs_of_chaos_break_nothing_and_leave_nothing(tmp_path: Path) -> None:
    process = start("chaos", SCENARIO, "--runs", "2", "--seed", "11", "--out", tmp_path / "runs", *ONE_CORE)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert all(f"seed-{seed}: nothing broken" in output for seed in (11, 12))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["chaos.html"]


def test_a_run_keeps_what_it_drew_and_says_what_became_of_it(run: Callable[..., FinishedRun]) -> None:
    played = run(SCENARIO, "--seed", "5", *ONE_CORE)
    drawn = load_scenario(SCENARIO, ["seed=5"]).drawn().timeline
    assert load_scenario(played.path / "scenario.yaml").timeline == drawn
    assert [fault["name"] for fault in played.summary["faults"]] == [entry.label for entry in drawn]


@pytest.mark.usefixtures("nothing_left")
def test_a_bug_is_found_and_its_smallest_scenario_shows_it(mutant: Callable[[str, str, str], Path]) -> None:
    """Owners that end a prompt twice need no fault for it: the second try leaves all of them out."""
    answered = 'self._log.emit("answer", prompt=prompt.id, text=text)'
    copy = mutant("testbed/node/agent.py", answered, f"{answered}; {answered}")
    chaos = start("chaos", "scenarios/chaos.yaml", "--out", copy / "runs", "--json", *ONE_CORE, project=copy)
    output, _ = chaos.communicate()
    assert chaos.returncode == 1, output
    found = json.loads(output[output.index("{\n") :])
    assert (found["runs"], found["breach"]["tries"]) == (1, 1)
    assert all("ended 2 times" in sentence for sentence in found["breach"]["broken"])
    assert load_scenario(copy / "runs" / "smallest.yaml").timeline == []
    again = start("run", found["breach"]["smallest"], "--out", copy / "again", project=copy)
    output, _ = again.communicate()
    assert again.returncode == 1, output
    assert "ended 2 times" in output


@pytest.fixture
def left() -> Iterator[str]:
    """A run that has left all that a run can leave."""
    run = secrets.token_hex(3)
    client = docker.from_env()
    container = client.containers.create(ensure_image(client, print), name=f"tb-{run}-a")
    netns.create(f"tb-{run}")
    (SHARED / run).mkdir(parents=True)
    with (JOURNALS / f"{run}.jsonl").open("x") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)  # else another session's `testbed clean` takes it for that of a dead run
        yield run
    container.remove()
    netns.remove(f"tb-{run}")
    (SHARED / run).rmdir()
    (JOURNALS / f"{run}.jsonl").unlink()


@pytest.mark.usefixtures("nothing_left")
def test_what_a_run_leaves_is_seen(left: str, tmp_path: Path) -> None:
    before = Possessions.now()
    assert before.leaks("0" * 6) == []
    with ExitStack() as stack:
        stack.enter_context((tmp_path / "open").open("w"))
        process = stack.enter_context(subprocess.Popen(["sleep", "60"]))
        found = before.leaks(left)
        process.terminate()
    assert found == [
        f"the container tb-{left}-a was left behind",
        f"the namespace tb-{left} was left behind",
        f"the file {SHARED / left} was left behind",
        f"the file {JOURNALS / left}.jsonl was left behind",
        f"an open {tmp_path / 'open'} was left behind",
        "the process sleep was left behind",
    ]
