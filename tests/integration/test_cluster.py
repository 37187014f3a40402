"""Campaigns on a Dask cluster whose workers are on this host, each at an address of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clustered import DaskCluster, PlayedRunner
from observed import GOSSIP, start
from rich.console import Console

from testbed.core.errors import HostError
from testbed.run.checked import load_checked
from testbed.run.cluster.connection import DaskHosts, connected
from testbed.run.cluster.players import Cluster
from testbed.run.orders import Order
from testbed.run.runner import Options
from testbed.show.cluster import ClusterView


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"), ["127.0.0.2", "127.0.0.3"])
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def hosts(cluster: DaskCluster) -> Iterator[DaskHosts]:
    while True:
        try:
            with connected(cluster.address) as hosts:
                if len(hosts.present()) == 2:
                    yield hosts
                    return
        except HostError:  # no worker yet
            pass
        time.sleep(0.1)


def test_a_worker_that_is_killed_costs_no_run(hosts: DaskHosts, tmp_path: Path) -> None:
    runner, seeds = PlayedRunner(tmp_path / "runner"), range(1, 5)
    scenario = load_checked(GOSSIP, ["expect={}"])
    runner.make(scenario, seeds)
    kills_its_worker = (
        "[ $seed != 3 ] || [ -e PLACE/killed ] || { touch PLACE/killed; kill -9 $PPID; read _ <PLACE/never; }"
    )
    orders = [
        Order(f"{point} {seed}", scenario.model_copy(update={"seed": seed}), tmp_path / f"{point}-{seed}")
        for point in range(2)
        for seed in seeds
    ]
    os.mkfifo(tmp_path / "runner" / "never")
    played = Cluster(hosts, Options(), ClusterView(Console()), runner.command(kills_its_worker)).play(orders)
    directories = {ended.summary.directory for ended in played}
    assert directories == {order.directory for order in orders}
    for order, directory in zip(orders, sorted(directories), strict=True):
        made = runner.place / "made" / str(order.scenario.seed)
        assert {path.name for path in directory.iterdir()} == {path.name for path in made.iterdir()}
    assert sorted(runner.began) == sorted([*seeds, *seeds, 3])


def test_a_sweep_goes_on_where_it_was_and_plays_what_is_missing(
    cluster: DaskCluster, hosts: DaskHosts, tmp_path: Path
) -> None:
    del hosts  # they are there
    short = ("--set", "workload.count=4", "--set", "workload.arrivals.rate=1/s", "--set", "expect={}")
    command = ("sweep", GOSSIP, *short, "--grid", "layers=0", "--fidelity", "off", "--out", tmp_path / "sweep")
    first = start(*command, "--on", cluster.address)
    output, _ = first.communicate()
    assert first.returncode == 0, output
    assert output.count(" plays ") == 1
    second = start(*command, "--on", cluster.address)
    output, _ = second.communicate()
    assert (second.returncode, output.count(" plays ")) == (0, 0), output
