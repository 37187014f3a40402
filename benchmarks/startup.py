"""Measures how fast worlds start: sudo .venv/bin/python benchmarks/startup.py --out startup.json

Three comparisons, both sides of each measured alternately on one host:

- 200 links between light hosts, namespaces without a container, as a star and as a line: the testbed's network against
  Mininet with its own hosts, Linux bridges and TCLink (bandwidth only, since not every kernel has netem).
- 32 containers, each linked to one switch, until every agent answers; against the same without a network.
- the same containers and links, against idle containers of the node image that the engine's API starts alone.
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from testbed.host.image import ensure_image
from testbed.host.machine import connect_docker
from testbed.host.namespace import Namespace
from testbed.schema.network.topology import Topology
from testbed.schema.scenario import Scenario
from testbed.world.journal import Journal
from testbed.world.network.links.running import RunningLinks
from testbed.world.network.network import Network
from testbed.world.nodes.containers import container_name
from testbed.world.plan import choose_backend, prepare
from testbed.world.world import World

LINKS: Final = 200
CONTAINERS: Final = 32
STEPS: Final = ("build", "stop", "built", "ready")  # that are shown

_CLONE_NEWNET = 0x40000000  # linux/sched.h


def topology(shape: str, links: int) -> Topology:
    """A ``star`` or a ``line`` of ``links`` links of 10 Mbit/s."""
    ends = [["s1", f"h{n}"] if shape == "star" else [f"h{n}", f"h{n + 1}"] for n in range(links)]
    names = sorted({end for pair in ends for end in pair} - {"s1"}, key=lambda name: int(name[1:]))
    return Topology.model_validate(
        {
            "name": shape,
            "defaults": {"link": {"bandwidth": "10mbit"}},
            "nodes": {name: {"model": "zoo/alpha", "cpus": 0.05, "memory": "160MiB"} for name in names},
            "switches": ["s1"] if shape == "star" else [],
            "links": [{"endpoints": pair} for pair in ends],
        }
    )


def measure_ours(shape: str, links: int) -> dict[str, float]:
    """Seconds to build and to stop light hosts with their links."""
    asked = topology(shape, links)
    begin = time.perf_counter()
    journal = Journal.begin()
    try:
        name = f"tb-{journal.run}"
        directory = Path("/run/testbed") / journal.run
        journal.record("directory", str(directory))
        directory.mkdir(parents=True)
        journal.record("namespace", name)
        home = Namespace.create(name)
        with home.entered():
            running = RunningLinks.begin(choose_backend(None, asked), journal, directory, seed=0)
        descriptors = _new_namespaces(len(asked.nodes))
        hosts = {
            node: Namespace(Path(f"/proc/{os.getpid()}/fd/{descriptor}"))
            for node, descriptor in zip(asked.nodes, descriptors, strict=True)
        }
        network = Network(asked, home, hosts, running)
        running.publish()
        built = time.perf_counter()
        network.stop()
        for descriptor in descriptors:
            os.close(descriptor)
    finally:
        relays = [record.name.partition("@")[0] for record in journal.records() if record.kind == "process"]
        journal.undo()
        journal.close()
    for relay in relays:  # the clean-up kills it, and does not wait for ever until the kernel has removed its devices
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(relay)).wait()
    return {"build": built - begin, "stop": time.perf_counter() - built}


def _new_namespaces(count: int) -> list[int]:
    """Descriptors of new network namespaces, which a thread of their own makes by leaving one for the next."""
    descriptors = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for _ in range(count):
            if libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no network namespace can be made")
            descriptors.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return descriptors


def measure_mininet(shape: str, links: int) -> dict[str, float]:
    """Seconds of Mininet for the same, in a process and a network namespace of its own."""
    command = ["unshare", "--net", sys.executable, __file__, "--mininet", shape, str(links)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return result


def run_mininet(shape: str, links: int) -> None:
    """Build and stop a Mininet network, and print the seconds of both as JSON."""
    from mininet.link import TCLink
    from mininet.log import setLogLevel
    from mininet.net import Mininet
    from mininet.nodelib import LinuxBridge

    setLogLevel("error")
    Mininet.inited = True  # otherwise it raises limits and sysctls of the whole host
    asked = topology(shape, links)
    begin = time.perf_counter()
    network = Mininet(controller=None, switch=LinuxBridge, link=TCLink, build=False)
    for name in asked.nodes:
        network.addHost(name)
    for name in asked.switches:
        network.addSwitch(name)
    for link in asked.resolved_links:
        network.addLink(link.a, link.b, bw=10)
    network.build()
    network.start()
    built = time.perf_counter()
    network.stop()
    print(json.dumps({"build": built - begin, "stop": time.perf_counter() - built}))


class NoNetwork:
    """Stands in for the network of a world without links."""

    def stop(self) -> None:
        """Does nothing."""


class Unlinked(World):
    """A world without a network."""

    def _connect(self, journal: Journal) -> Any:
        del journal
        return NoNetwork()


def measure_world(kind: type[World]) -> dict[str, float]:
    """Seconds until containers run and until every agent answers, and those of the network in between."""
    asked = topology("star", CONTAINERS)
    scenario = Scenario.model_validate(
        {
            "name": "startup",
            "topology": asked,
            "pattern": {"kind": "gossip-moa", "layers": 0, "proposers": 0},
            "workload": {"prompts": "worldfacts", "arrivals": {"rate": "1/s"}, "count": 1},
        }
    )
    plan = prepare(scenario, None, lambda _: None)
    steps: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        steps[name] = time.perf_counter() - begin

    journal = Journal.begin()
    try:
        begin = time.perf_counter()
        world = kind(plan, journal, step)
        built = time.perf_counter()
        world.wait_until_ready()
        ready = time.perf_counter()
        world.close()
    finally:
        journal.undo()
        journal.close()
    return {**steps, "built": built - begin, "ready": ready - begin}


def measure_engine() -> dict[str, float]:
    """Seconds of the engine to start the same number of idle containers, one after the other."""
    client = connect_docker()
    image = ensure_image(client, lambda _: None)
    journal = Journal.begin()
    try:
        begin = time.perf_counter()
        for number in range(CONTAINERS):
            name = container_name(journal.run, str(number))
            journal.record("container", name)
            client.containers.run(image, ["sleep", "infinity"], name=name, detach=True, network_mode="none")
            journal.record_created(name)
        return {"built": time.perf_counter() - begin}
    finally:
        journal.undo()
        journal.close()


def compare(
    rounds: int, ours: Callable[[], dict[str, float]], theirs: Callable[[], dict[str, float]]
) -> dict[str, Any]:
    """The medians of both sides, measured alternately."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    sides = {"ours": [pair[0] for pair in pairs], "theirs": [pair[1] for pair in pairs]}
    return {
        side: {key: median(one[key] for one in measured) for key in measured[0]} for side, measured in sides.items()
    } | {"rounds": sides}


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to store all figures as JSON")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; medians count")
    parser.add_argument("--mininet", nargs=2, metavar=("SHAPE", "LINKS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.mininet:
        run_mininet(chosen.mininet[0], int(chosen.mininet[1]))
        return
    results = {
        shape: compare(chosen.rounds, partial(measure_ours, shape, LINKS), partial(measure_mininet, shape, LINKS))
        for shape in ("star", "line")
    }
    results["containers"] = compare(chosen.rounds, partial(measure_world, World), partial(measure_world, Unlinked))
    results["engine"] = compare(chosen.rounds, partial(measure_world, World), measure_engine)
    Console().print(_table(results))
    if chosen.out:
        chosen.out.write_text(json.dumps(results, indent=2))


def _table(results: dict[str, Any]) -> Table:
    table = Table("what", "step", "testbed", "compared with", "ratio")
    for what, compared in results.items():
        for step in (step for step in STEPS if step in compared["theirs"]):
            ours, theirs = compared["ours"][step], compared["theirs"][step]
            with_links = what in ("containers", "engine")
            ratio = f"{ours / theirs:.2f} times as long" if with_links else f"{theirs / ours:.1f} times as fast"
            table.add_row(what, step, f"{ours:.2f} s", f"{theirs:.2f} s", ratio)
    return table


if __name__ == "__main__":
    main()
