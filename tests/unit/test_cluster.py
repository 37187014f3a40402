"""Campaigns on several hosts, whose runs are not played but copied: who plays what, what is retried, what arrives."""

import io
import itertools
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from clustered import PlayedRunner, ThreadHosts
from rich.console import Console

from testbed.core.errors import HostError, TestbedError
from testbed.run.campaign import Campaign
from testbed.run.cluster import players as module
from testbed.run.cluster.archive import pack, unpack_whole
from testbed.run.cluster.players import Cluster
from testbed.run.cluster.seeds import Seeds
from testbed.run.orders import Ended, Order
from testbed.run.runner import Options
from testbed.schema.scenario import Scenario
from testbed.show.cluster import ClusterView

SEEDS = range(3, 7)


@pytest.fixture
def scenario(files: Any) -> Scenario:
    loaded: Scenario = files.load("pattern.layers=0", "expect={}")
    return loaded


@pytest.fixture
def runner(tmp_path: Path, scenario: Scenario) -> PlayedRunner:
    runner = PlayedRunner(tmp_path / "runner")
    runner.make(scenario, SEEDS)
    return runner


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


def _cluster(hosts: ThreadHosts, said: io.StringIO, command: Sequence[str]) -> Cluster:
    return Cluster(hosts, Options(), ClusterView(Console(file=said)), command)


def _orders(scenario: Scenario, out: Path, points: int = 1) -> list[Order]:
    return [
        Order(f"{point} {seed}", scenario.model_copy(update={"seed": seed}), out / str(point) / f"seed-{seed}")
        for point, seed in itertools.product(range(points), SEEDS)
    ]


def _failure(ended: Ended) -> tuple[str, int]:
    assert isinstance(ended.result, TestbedError)
    return str(ended.result), ended.result.exit_code


def test_every_run_arrives_whole_and_a_seed_stays_with_its_host(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path
) -> None:
    orders = _orders(scenario, tmp_path / "out", points=3)
    cluster = _cluster(ThreadHosts({"1": "red", "2": "blue"}), said, runner.command())
    ended = list(cluster.play(orders))
    assert sorted(one.order.name for one in ended) == sorted(order.name for order in orders)
    assert {one.summary.verdict for one in ended} == {"passed"}
    for order in orders:
        assert order.directory is not None
        made = runner.place / "made" / str(order.scenario.seed)
        assert {path.name for path in order.directory.iterdir()} == {path.name for path in made.iterdir()}
        assert (order.directory / "events.jsonl").read_bytes() == (made / "events.jsonl").read_bytes()
    played = [line.split(" plays ") for line in said.getvalue().splitlines() if " plays " in line]
    assert len(played) == 12
    assert len({(host, name.split()[1]) for host, name in played}) == len(SEEDS)
    assert "(12 of 12)" in said.getvalue()
    assert not list((tmp_path / "out").rglob(".*"))


def test_a_summary_that_is_read_back_says_what_the_runner_wrote(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path
) -> None:
    (ended, *_) = _cluster(ThreadHosts({"1": "red"}), said, runner.command()).play(_orders(scenario, tmp_path))
    written = json.loads((ended.summary.directory / "summary.json").read_text())
    assert json.loads(json.dumps(ended.summary.as_dict())) == written


def test_a_campaign_has_its_summaries_by_seed(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path
) -> None:
    campaign = Campaign(scenario, tmp_path / "out", repeat=4)
    campaign.play(_cluster(ThreadHosts({"1": "red", "2": "blue", "3": "green"}), said, runner.command()))
    assert [summary.scenario.seed for summary in campaign.summaries] == list(SEEDS)


@pytest.mark.parametrize("failure", ["exit 3", "exit 255", "kill -9 $$"])
def test_what_another_attempt_may_mend_is_tried_again(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path, failure: str
) -> None:
    once = f"[ $seed != 4 ] || [ -e PLACE/failed ] || {{ touch PLACE/failed; {failure}; }}"
    ended = list(_cluster(ThreadHosts({"1": "red"}), said, runner.command(once)).play(_orders(scenario, tmp_path)))
    assert [one.summary.verdict for one in ended] == ["passed"] * 4
    assert sorted(runner.began) == [3, 4, 4, 5, 6]


def test_a_failure_that_stays_is_said_after_three_attempts(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path
) -> None:
    command = runner.command("[ $seed != 4 ] || { echo no Docker engine >&2; exit 3; }")
    ended = list(_cluster(ThreadHosts({"1": "red"}), said, command).play(_orders(scenario, tmp_path)))
    assert [_failure(one) for one in ended if one.order.scenario.seed == 4] == [("red: no Docker engine", 3)]
    assert runner.began.count(4) == 3
    assert len(ended) == 4


@pytest.mark.parametrize("status", [2, 70, 130])
def test_an_answer_is_not_tried_again(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path, status: int
) -> None:
    command = runner.command(f"[ $seed != 4 ] || {{ echo why >&2; exit {status}; }}")
    ended = list(_cluster(ThreadHosts({"1": "red"}), said, command).play(_orders(scenario, tmp_path)))
    assert [_failure(one) for one in ended if one.order.scenario.seed == 4] == [("red: why", status)]
    assert sorted(runner.began) == list(SEEDS)
    assert not (tmp_path / "0" / "seed-4").exists()


def test_a_host_that_cannot_play_a_seed_leaves_all_its_runs_to_another() -> None:
    hosts = {"1": "red", "2": "blue"}
    seeds = Seeds({3: "blue", 4: "gone"})
    assert [seeds.suits(3, host, hosts) for host in hosts] == [False, True]
    assert [seeds.suits(4, host, hosts) for host in hosts] == [True, True]
    seeds.bind(3, "2")
    seeds.move(3, "2")
    assert [seeds.suits(3, host, hosts) for host in hosts] == [True, False]
    seeds.bind(3, "1")
    seeds.leave("1")
    assert [seeds.suits(3, host, hosts) for host in hosts] == [True, True]  # both have failed, so either may try again


def test_runs_of_a_lost_host_are_played_by_another(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ABSENT", 0.0)
    hosts = ThreadHosts({"1": "red", "2": "blue"})
    ended = []
    for one in _cluster(hosts, said, runner.command()).play(_orders(scenario, tmp_path, points=2)):
        hosts.names.pop("1", None)
        ended.append(one.summary.verdict)
    assert ended == ["passed"] * 8


def test_a_cluster_without_any_host_is_given_up(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ABSENT", 0.0)
    hosts = ThreadHosts({"1": "red"})
    playing = _cluster(hosts, said, runner.command()).play(_orders(scenario, tmp_path))
    next(playing)
    hosts.names.clear()
    with pytest.raises(HostError, match="no host of the cluster is left"):
        list(playing)


def test_ctrl_c_stops_the_hosts_and_keeps_what_has_arrived(
    scenario: Scenario, runner: PlayedRunner, said: io.StringIO, tmp_path: Path
) -> None:
    waits = (
        f"[ $seed = 3 ] || {{ trap 'kill $!; echo $seed >>PLACE/stopped; exit 130' INT; cat {tmp_path}/never & wait; }}"
    )
    (tmp_path / "runner").mkdir(exist_ok=True)
    os.mkfifo(tmp_path / "never")
    playing = _cluster(ThreadHosts({"1": "red", "2": "blue"}), said, runner.command(waits)).play(
        _orders(scenario, tmp_path / "out")
    )
    assert next(playing).order.scenario.seed == 3
    with pytest.raises(KeyboardInterrupt):
        playing.throw(KeyboardInterrupt)
    assert [path.name for path in (tmp_path / "out").rglob("seed-*")] == ["seed-3"]
    assert len((runner.place / "stopped").read_text().split()) == len(runner.began) - 1


def test_a_directory_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "logs").mkdir(parents=True)
    (made / "logs" / "a.log").write_text("said")
    packed = pack(made)
    with pytest.raises(zipfile.BadZipFile):
        unpack_whole(packed[: len(packed) // 2], tmp_path / "in" / "half")
    assert list((tmp_path / "in").iterdir()) == []
    unpack_whole(packed, tmp_path / "in" / "all")
    assert (tmp_path / "in" / "all" / "logs" / "a.log").read_text() == "said"
