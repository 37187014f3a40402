"""Device profiles: what comes with the testbed, what nodes take from them, and how much of a host that is."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from testbed import cli
from testbed.core.errors import HostError, SpecError
from testbed.host import capacity
from testbed.host.capacity import fitting_dilation, settle_dilation
from testbed.host.devices import Device, devices
from testbed.host.speed import core_speed
from testbed.models.resolution import Model, ModelError, resolve
from testbed.node.engine.model import Sampling
from testbed.node.engine.speed import tokens_per_second
from testbed.patterns.participant import ChatMessage, Completion
from testbed.record.directory import RunDirectory
from testbed.schema.network.device import known_profiles
from testbed.schema.network.topology import Topology
from testbed.schema.scenario import load_scenario
from testbed.world.plan import _check_faults

OWN = """\
# Boards of mine.
old-board:
  cores: 1
  memory: 256MiB
  model: zoo/alpha
  weights: 2224512B
  tokens_per_second: 200
  source: a stopwatch
raspberry-pi-4:
  cores: 4
  memory: 1GiB
  model: zoo/alpha
  weights: 2224512B
  tokens_per_second: 900
  source: the one on my desk
"""


@pytest.fixture
def with_device(files: Any) -> Callable[..., Any]:
    """The scenario whose node a is written as said; its topology may name a file of profiles."""

    def load(node: str, *assignments: str, own: str = "") -> Any:
        (files.directory / "own.yaml").write_text(OWN)
        topology = files.topology.replace("{model: zoo/alpha, cpus: 0.3, memory: 160MiB}", node)
        assert topology != files.topology
        return files.load(*assignments, topology=own + topology)

    return load


def test_every_profile_says_where_its_numbers_are_from() -> None:
    assert set(known_profiles()) >= {"raspberry-pi-4", "raspberry-pi-5", "jetson-nano", "jetson-orin-nano", "laptop"}
    for profile in known_profiles().values():
        assert "github.com" in profile.source
        assert 1 < profile.tokens_per_second < 100
        assert profile.weights < profile.memory


def test_a_faster_device_is_faster_with_any_model() -> None:
    speeds = [known_profiles()[name].speed(10**9) for name in ("raspberry-pi-4", "raspberry-pi-5", "nuc", "laptop")]
    assert speeds == sorted(speeds)
    assert known_profiles()["nuc"].speed(2019377696) == pytest.approx(9.06)
    assert known_profiles()["nuc"].speed(2019377696 // 2) == pytest.approx(2 * 9.06)


def test_a_node_has_the_memory_of_its_device(with_device: Callable[..., Any], tmp_path: Path) -> None:
    scenario = with_device("{device: raspberry-pi-4, model: zoo/alpha}")
    node = scenario.topology.nodes["a"]
    assert (node.cpus, node.memory) == (None, 8 * 2**30)
    again = load_scenario(RunDirectory.create(scenario, tmp_path / "run").path / "scenario.yaml")
    assert again == scenario


def test_what_stands_beside_a_device_counts(with_device: Callable[..., Any]) -> None:
    node = with_device("{device: nuc, model: zoo/alpha, cpus: 0.2, memory: 100MiB}").topology.nodes["a"]
    assert (node.cpus, node.memory) == (0.2, 100 * 2**20)


@pytest.mark.parametrize(
    ("node", "mistake"),
    [
        ("{device: pi, model: zoo/alpha}", "nodes.a.device: there is no device 'pi'; known are raspberry-pi-4, "),
        (
            "{model: zoo/alpha, memory: 64MiB}",
            "nodes.a: `cpus` is missing; say how much CPU it has, or name a `device`",
        ),
        ("{model: zoo/alpha, cpus: 0.1}", "nodes.a: `memory` is missing"),
        ("{device: [nuc], model: zoo/alpha, memory: 1GiB}", "nodes.a.device: this is wrong"),
    ],
)
def test_a_node_that_says_too_little_is_told(with_device: Callable[..., Any], node: str, mistake: str) -> None:
    with pytest.raises(SpecError) as refusal:
        with_device(node)
    assert mistake in str(refusal.value)
    assert "topology.yaml:" in str(refusal.value)


def test_a_topology_can_bring_profiles_which_count_more(with_device: Callable[..., Any], tmp_path: Path) -> None:
    scenario = with_device("{device: old-board, model: zoo/alpha}", own="devices: own.yaml\n")
    assert scenario.topology.nodes["a"].memory == 256 * 2**20
    assert scenario.topology.profiles["raspberry-pi-4"].tokens_per_second == 900
    assert scenario.topology.profiles["nuc"] == known_profiles()["nuc"]
    again = load_scenario(RunDirectory.create(scenario, tmp_path / "elsewhere" / "run").path / "scenario.yaml")
    assert again.topology.devices == str(tmp_path / "elsewhere" / "run" / "inputs" / "own.yaml")
    assert (again.topology.profiles, again.topology.nodes) == (scenario.topology.profiles, scenario.topology.nodes)


def test_mistakes_in_a_file_of_profiles_are_told_with_their_lines(files: Any, with_device: Callable[..., Any]) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml: there is no such file"):
        with_device("{device: nuc, model: zoo/alpha}", own="devices: none.yaml\n")
    (files.directory / "bad.yaml").write_text(
        OWN.replace("cores: 1", "cores: 0").replace("  source: a stopwatch\n", "")
    )
    with pytest.raises(SpecError) as refusal:
        with_device("{device: nuc, model: zoo/alpha}", own="devices: bad.yaml\n")
    assert "bad.yaml:3: old-board.cores: `0` is wrong" in str(refusal.value)
    assert "bad.yaml:2: old-board: `source` is missing" in str(refusal.value)


def _devices(topology: Topology, speed: float) -> dict[str, Device]:
    models = {name: resolve(node.model) for name, node in topology.nodes.items()}
    return devices(topology, models, lambda *_: speed)


def test_a_node_gets_the_share_of_a_core_that_makes_it_as_fast(with_device: Callable[..., Any]) -> None:
    scenario = with_device("{device: old-board, model: zoo/alpha}", own="devices: own.yaml\n")
    found = _devices(scenario.topology, speed=1000.0)
    assert found["a"].cpus == pytest.approx(0.2)
    assert found["b"] == Device(0.3, 160 * 2**20)
    speed = found["a"].speed
    assert speed is not None
    assert (speed.asked, speed.host) == (200.0, 1000.0)


def test_the_models_of_nodes_without_a_device_are_not_measured(files: Any) -> None:
    def measure(_: Model, __: float) -> float:
        raise AssertionError

    topology = files.load().topology
    devices(topology, {name: resolve(node.model) for name, node in topology.nodes.items()}, measure)


def test_a_node_is_measured_with_about_the_share_that_it_gets(with_device: Callable[..., Any]) -> None:
    topology = with_device("{device: old-board, model: zoo/alpha}", own="devices: own.yaml\n").topology
    models = {name: resolve(node.model) for name, node in topology.nodes.items()}
    slower = devices(topology, models, lambda _, share: {1.0: 1000.0, 0.2: 800.0}[round(share, 9)])
    assert slower["a"].cpus == pytest.approx(0.25)
    much_slower = devices(topology, models, lambda _, share: 1000.0 if share == 1 else 100.0)
    assert much_slower["a"].cpus == 1


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "host_cpus", lambda: 2)


@pytest.mark.usefixtures("two_cores")
def test_a_host_that_is_too_slow_is_told_so_with_the_arithmetic(with_device: Callable[..., Any]) -> None:
    scenario = with_device("{device: nuc, model: zoo/alpha, memory: 160MiB}")
    found = _devices(scenario.topology, speed=2000.0)
    with pytest.raises(HostError) as refusal:
        settle_dilation(scenario, found)
    assert str(refusal.value) == (
        "node 'a' would need 4.11 cores of this host and computes with one: nuc writes 9.06 tokens/s with "
        "Llama 3.2 3B Q4_K_M, so 9.06 × 1.88 GiB ÷ 2.12 MiB = 8225 with zoo/alpha, and a core of this host writes "
        "2000; let time run slower (`dilation: auto`, which is 4.2 here), or take a slower device"
    )
    slower = with_device("{device: nuc, model: zoo/alpha, memory: 160MiB}", "dilation=auto")
    assert settle_dilation(slower, found) == 4.2


def test_a_device_has_one_core_at_most_even_on_a_large_host() -> None:
    fast = Device(1.7, 0, speed=object())  # type: ignore[arg-type]
    assert fitting_dilation([fast], cores=64) == 1.7
    assert fitting_dilation([Device(1.7, 0)], cores=64) == 1.0


def test_a_fault_may_give_no_more_cpu_than_the_device_comes_to(with_device: Callable[..., Any]) -> None:
    fault = "timeline=[{at: 1s, cpu: {node: a, cpus: 0.25}}]"
    scenario = with_device("{device: old-board, model: zoo/alpha}", fault, own="devices: own.yaml\n")
    _check_faults(scenario, _devices(scenario.topology, speed=500.0))
    with pytest.raises(SpecError, match=r"timeline\[0\].cpu.cpus: 0.25 is more than the 0.2 of node 'a'"):
        _check_faults(scenario, _devices(scenario.topology, speed=1000.0))


class Writer:
    """A model that takes so much CPU time to read, and less for a token."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.now = 0.0

    def complete(
        self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: Callable[[str], None]
    ) -> Completion:
        del messages, sampling
        self.now += 5.0  # it reads
        for _ in range(self.tokens):
            self.now += 0.01
            on_text("")
        return Completion("", 1, self.tokens, stopped=True)


def test_the_speed_of_a_model_is_that_of_its_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Writer(tokens=20)
    monkeypatch.setattr("time.process_time", lambda: model.now)
    assert tokens_per_second(model) == pytest.approx(100)


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_model_that_writes_nothing_has_no_speed(tokens: int) -> None:
    with pytest.raises(ValueError, match="ends its answers at once"):
        tokens_per_second(Writer(tokens))


def test_a_core_of_this_host_writes_with_a_model_of_the_zoo() -> None:
    assert 50 < core_speed(resolve("zoo/alpha"), 1.0) < 50_000


def test_who_is_stopped_again_and_again_is_measured_by_the_time_that_he_has() -> None:
    """His caches are cold each time, so he is slower; but not ten times, which he would be by the clock on the wall."""
    alone, stopped = (core_speed(resolve("zoo/alpha"), share) for share in (1.0, 0.1))
    assert alone / 9 < stopped < alone * 2


def test_a_model_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"nothing")
    broken = Model("path:m.gguf", tmp_path / "m.gguf", "", 7, 1, 1, 1)
    with pytest.raises(ModelError, match=r"path:m\.gguf: how fast this host runs it cannot be measured: "):
        core_speed(broken, 1.0)


def test_the_command_line_lists_them_with_those_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    for arguments in (["--json"], [str(tmp_path / "own.yaml"), "--json"], [str(tmp_path / "own.yaml")]):
        monkeypatch.setattr(sys, "argv", ["testbed", "devices", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        printed = capsys.readouterr().out
        if "--json" in arguments:
            listed = json.loads(printed)
            assert listed["nuc"]["tokens_per_second"] == 9.06
            assert ("old-board" in listed) == (len(arguments) == 2)
    assert "old-board: a stopwatch" in printed
