"""Faults as they are seen from outside: by ping, in /proc, cgroup files and rules; and that nothing is left of them."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import docker
import psutil
import pytest
from aiohttp import ClientError, ClientSession, UnixConnector
from observed import FinishedRun, Remains

from testbed.faults.effects import ActiveEffects
from testbed.faults.targets import change_node
from testbed.node import config as places
from testbed.run.playing.tending import tend
from testbed.schema.fault import FAULTS
from testbed.schema.scenario import load_scenario
from testbed.world.journal import Journal
from testbed.world.nodes.container import ContainerNode
from testbed.world.nodes.handle import Session
from testbed.world.plan import prepare
from testbed.world.world import World

pytestmark = pytest.mark.measures

SCENARIO = """
name: faults
topology:
  name: line
  defaults: {link: {bandwidth: 10mbit, delay: 5ms}}
  nodes:
    a: {model: zoo/alpha, cpus: 0.3, memory: 160MiB}
    b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}
    c: {model: zoo/gamma, cpus: 0.3, memory: 160MiB}
  links: [{endpoints: [a, b]}, {endpoints: [b, c]}]
pattern: {kind: gossip-moa, layers: 1, proposers: 2, timeout: 1s}
workload: {prompts: worldfacts, arrivals: {process: poisson, rate: 1/s}, count: 9}
"""
"""Node b forwards between a and c."""

ADDRESS = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
CGROUP_FILES = (
    ("cpu.cfs_period_us", "cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "freezer.state")
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    else ("cpu.max", "memory.max", "memory.swap.max", "cgroup.freeze")
)


class Seen:
    """A world, and what can be seen of it from outside."""

    def __init__(self, world: World, run: str) -> None:
        self.effects = ActiveEffects(world)
        self._topology = world.plan.scenario.topology
        self.world = world
        self.run = run

    @contextmanager
    def fault(self, kind: str, **keys: Any) -> Iterator[None]:
        """The first phase of a fault within, and nothing of it afterwards."""
        phase = next(FAULTS.get(kind).model_validate(keys).phases(self._topology))
        asyncio.run(self.effects.replace([], phase.effects))
        try:
            yield
        finally:
            asyncio.run(self.effects.replace(phase.effects, []))

    async def tend(self) -> None:
        """Tend the nodes as during play, until all of them run."""
        failures: list[Any] = []
        tending = asyncio.create_task(tend(self.world, self.effects, lambda *failure: failures.append(failure)))
        while any(node.ended for node in self.world.nodes.values()):
            assert not failures
            await asyncio.sleep(0.01)
        tending.cancel()
        await self.effects.settled()

    def reaches(self, source: str, target: str) -> bool:
        """Whether one of some pings comes back; ARP may need a few seconds to recover."""
        return any(self._ping(source, target, "-c 1 -W 1") for _ in range(10))

    def is_cut_off(self, source: str, target: str) -> bool:
        """Whether none of some pings comes back within a second."""
        return not self._ping(source, target, "-c 3 -i 0.1 -W 1")

    def round_trip(self, source: str, target: str) -> float:
        """Median milliseconds."""
        assert self.reaches(source, target)
        return median(self._ping(source, target, "-c 5 -i 0.1"))

    def _ping(self, source: str, target: str, options: str) -> list[float]:
        ping = f"ip netns exec tb-{self.run}-{source} ping {options} {ADDRESS[target]}"
        output = subprocess.run(ping.split(), capture_output=True, text=True, check=False).stdout
        return [float(line.split("time=")[1].split()[0]) for line in output.splitlines() if "time=" in line]

    def cgroup(self, node: str) -> dict[str, str]:
        """What the files of a node's cgroup say."""
        container = docker.from_env().containers.get(f"tb-{self.run}-{node}").id
        found = (path for name in CGROUP_FILES for path in Path("/sys/fs/cgroup").rglob(f"*{container}*/{name}"))
        return {path.name: path.read_text().strip() for path in found}

    def processes(self, node: str) -> list[str]:
        """The states of a node's processes, its init first (proc(5))."""
        init = psutil.Process(docker.from_env().containers.get(f"tb-{self.run}-{node}").attrs["State"]["Pid"])
        return [process.status() for process in (init, *init.children(recursive=True))]

    def inference(self, node: str) -> float:
        """Median seconds that its model takes for one and the same request, as its trace has it."""
        asyncio.run(self.ask(node, times=5))
        events = [json.loads(line) for line in (self.shared(node) / places.EVENTS).read_text().splitlines()]
        starts, ends = ([event["t"] for event in events if event["event"] == kind][-5:] for kind in ("start", "end"))
        return median(end - start for start, end in zip(starts, ends, strict=True))

    async def ask(self, node: str, times: int) -> None:
        body = {"messages": [{"role": "user", "content": "Which is the capital of Italy?"}], "temperature": 0}
        async with ClientSession(
            "http://agent", connector=UnixConnector(str(self.shared(node) / places.SOCKET))
        ) as session:
            while times:
                try:
                    async with session.post("/v1/chat/completions", json=body) as response:
                        assert response.status == 200
                        times -= 1
                except ClientError:  # it ends, or is being started again
                    await asyncio.sleep(0.1)

    def shared(self, node: str) -> Path:
        """What host and container both see."""
        handle = self.world.nodes[node]
        assert isinstance(handle, ContainerNode)
        return handle.shared

    def rules(self, node: str) -> str:
        """What the kernel of a node follows."""
        command = ["ip", "-d", "-n", f"tb-{self.run}-{node}", "rule"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def routes(self, node: str) -> str:
        """Addresses and routes of a node."""
        commands = (["ip", "-n", f"tb-{self.run}-{node}", *what] for what in (["-br", "-4", "address"], ["route"]))
        return "".join(subprocess.run(one, capture_output=True, text=True, check=True).stdout for one in commands)

    def everything(self) -> list[object]:
        """All that a fault may change."""
        links = [wiring.link for wiring in self.world.links.current()]
        return [links, *((self.cgroup(n), self.rules(n), self.routes(n)) for n in ADDRESS)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    before = Remains.now()
    path = tmp_path_factory.mktemp("faults") / "faults.yaml"
    path.write_text(SCENARIO)
    journal = Journal.begin()
    try:
        world = World(prepare(load_scenario(path), None, lambda _: None), journal, lambda _: nullcontext())
        world.wait_until_ready()
        yield Seen(world, journal.run)
        world.close()
    finally:
        journal.undo()
        journal.close()
    assert Remains.now() == before


@pytest.fixture(autouse=True)
def _gone_afterwards(seen: Seen) -> Iterator[None]:
    """After every test all reads as before it, to the letter."""
    before = seen.everything()
    yield
    assert seen.everything() == before


def test_a_restart_loses_none_of_a_nodes_events_and_doubles_none(seen: Seen) -> None:
    asyncio.run(asyncio.wait_for(_restarted_while_followed(seen), 60))


async def _restarted_while_followed(seen: Seen) -> None:
    """Follow the events of a node that is killed in the middle of its jobs; what arrives is what its file has."""
    node, taken = seen.world.nodes["c"], list[Any]()
    file = seen.shared("c") / places.EVENTS
    down = change_node("c", running=False)

    async def follow(session: Session) -> None:
        async for events in session.events(every=0.05):
            taken.extend(events)

    async with node.session() as session, asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow(session))
        asking = tasks.create_task(seen.ask("c", times=5))
        while not any(event["event"] == "first_token" for event in taken):
            await asyncio.sleep(0.01)
        await seen.effects.replace([], [down])
        await seen.effects.replace([down], [])
        await asking
        while len(taken) < len(file.read_bytes().splitlines()):
            await asyncio.sleep(0.01)
        following.cancel()
    assert taken == [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [event["event"] for event in taken].count("ready") == 2


def test_a_cut_link_carries_nothing_until_the_last_cut_of_it_ends(seen: Seen) -> None:
    with seen.fault("cut", link="a-b", way="down"):
        with seen.fault("cut", link="a-b"):
            assert seen.is_cut_off("a", "b")
            assert seen.reaches("b", "c")
        assert seen.is_cut_off("a", "b")
    assert seen.reaches("a", "b")


def test_a_flapping_link_begins_cut(seen: Seen) -> None:
    with seen.fault("flap", link="b-c", cut="1s", every="2s"):
        assert seen.is_cut_off("b", "c")


def test_a_degraded_link_is_as_slow_as_is_said(seen: Seen) -> None:
    with seen.fault("degrade", link="a-b", delay="80ms"), seen.fault("degrade", link="a-b", up={"delay": "20ms"}):
        assert seen.round_trip("a", "b") >= 100
    assert seen.round_trip("a", "b") < 100


def test_a_partition_separates_the_groups_and_nobody_else(seen: Seen) -> None:
    """Node b lies between a and c and goes on forwarding for them."""
    with seen.fault("partition", groups=[["a", "c"], ["b"]]):
        assert seen.is_cut_off("a", "b")
        assert seen.is_cut_off("b", "c")
        assert seen.reaches("a", "c")
        with seen.fault("partition", groups=[["a"], ["c"]]):
            assert seen.is_cut_off("a", "c")
        assert seen.reaches("a", "c")
        assert seen.is_cut_off("a", "b")
    assert all(seen.reaches(one, other) for one, other in ["ab", "bc", "ac"])


def test_a_paused_node_is_frozen(seen: Seen) -> None:
    with seen.fault("pause", node="b"):
        assert {"FROZEN", "1"} & set(seen.cgroup("b").values())
        assert seen.reaches("a", "c")


def test_a_hanging_agent_is_stopped_and_its_sockets_are_open(seen: Seen) -> None:
    with seen.fault("hang", node="b"):
        init, *agent = seen.processes("b")
        assert init != psutil.STATUS_STOPPED
        assert set(agent) == {psutil.STATUS_STOPPED}
        connect = f"ip netns exec tb-{seen.run}-a timeout 5 bash -c 'exec 3<>/dev/tcp/{ADDRESS['b']}/8080'"
        assert subprocess.run(connect, shell=True, check=False).returncode == 0
    assert psutil.STATUS_STOPPED not in seen.processes("b")


def test_a_slow_model_takes_longer_behind_the_same_cap_and_still_does_when_its_node_was_started_again(
    seen: Seen,
) -> None:
    usual, files = seen.inference("c"), seen.cgroup("c")
    with seen.fault("slow", node="c", factor=8):
        assert seen.inference("c") > 4 * usual
        assert seen.cgroup("c") == files
        with seen.fault("kill", node="c"):
            pass
        assert seen.inference("c") > 4 * usual
    assert seen.inference("c") < 4 * usual


def test_nested_changes_of_cpu(seen: Seen) -> None:
    def share() -> float:
        files = seen.cgroup("c")
        unified = files.get("cpu.max") or f"{files['cpu.cfs_quota_us']} {files['cpu.cfs_period_us']}"
        quota, period = unified.split()
        return int(quota) / int(period)

    with seen.fault("cpu", node="c", cpus=0.2):
        with seen.fault("cpu", node="c", cpus=0.05):
            assert share() == pytest.approx(0.05)
        assert share() == pytest.approx(0.2)
    assert share() == pytest.approx(0.3)


def test_squeezed_memory(seen: Seen) -> None:
    with seen.fault("memory", node="c", memory="120MiB"):
        assert str(120 * 2**20) in seen.cgroup("c").values()


def test_a_killed_node_is_gone_and_comes_back_with_its_address_its_links_and_its_faults(seen: Seen) -> None:
    with seen.fault("partition", groups=[["b"], ["c"]]):
        with seen.fault("kill", node="b"):
            container = docker.from_env().containers.get(f"tb-{seen.run}-b")
            assert container.status == "exited"
        assert seen.reaches("a", "b")
        assert seen.reaches("a", "c")
        assert seen.is_cut_off("b", "c")
    assert seen.round_trip("a", "b") >= 10


@pytest.mark.parametrize("fault", ["partition", "kill"])
def test_a_node_that_somebody_else_started_is_as_its_faults_say_and_their_undo_finds_it(seen: Seen, fault: str) -> None:
    keys = {"groups": [["b"], ["c"]]} if fault == "partition" else {"node": "b"}
    with seen.fault(fault, **keys):
        container = docker.from_env().containers.get(f"tb-{seen.run}-b")
        container.restart(timeout=0)
        asyncio.run(seen.tend())
        assert seen.reaches("a", "b")
        assert str(seen.world.nodes["b"].exits[-1]).startswith("ended")
        assert seen.is_cut_off("b", "c") is (fault == "partition")
    assert seen.reaches("b", "c")


PLAYED = """
timeline:
  - {at: 500ms, name: split, partition: [[a], [b, c]], for: 2s}
  - {at: 1s, kill: c}
  - {when: {node: a, queue: "> 90"}, cut: a-b}
  - {in: {layer: 2}, degrade: {link: a-b, delay: 30ms}}
"""


@pytest.mark.usefixtures("_gone_afterwards")
def test_a_run_tells_what_became_of_its_timeline(run: Callable[..., FinishedRun], tmp_path: Path) -> None:
    path = tmp_path / "played.yaml"
    path.write_text(f"{SCENARIO}oversubscribe: true\n{PLAYED}")
    played = run(path, "--seed", "2", "--fidelity", "off")
    assert played.exit_code == 0, played.output
    faults = {fault["name"]: fault for fault in played.summary["faults"]}
    assert faults["split"]["began"] >= faults["split"]["asked"] == 0.5
    assert faults["split"]["ended"] >= 2.5
    assert faults["cut-1"]["began"] is None
    assert "cut-1 (a-b) never happened: play was over before it came to when: node a, queue > 90" in " ".join(
        played.output.split()
    )
    assert faults["degrade-1"]["ended"] is not None
    assert played.summary["nodes"]["c"]["state"] == "ended with code 137"
    ended = {event["prompt"] for event in played.events if event["event"] in ("answer", "failed", "lost")}
    assert len(ended) == 9
    unheard = [event["t"] for event in played.events if event["event"] == "ask_failed" and event["peer"] == "b"]
    assert any(faults["split"]["began"] < t < faults["split"]["ended"] for t in unheard)
