"""Scenarios: defaults, what the command line changes, and a resolved one that is the same scenario again."""

import random
from pathlib import Path
from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory
from testbed.schema.expectation import Expectation
from testbed.schema.scenario import Scenario, json_schema, load_scenario

ROOT = Path(__file__).parents[2]


def _written_and_read(scenario: Scenario, directory: Path) -> Scenario:
    return load_scenario(RunDirectory.create(scenario, directory / "run").path / "scenario.yaml")


def test_what_is_not_said_has_its_default(files: Any) -> None:
    bare = "name: x\ntopology: topology.yaml\npattern: {kind: gossip-moa, layers: 0, proposers: 0}\n"
    scenario = files.load(scenario=bare + "workload: {prompts: worldfacts, arrivals: {rate: 1/s}, count: 1}\n")
    assert (scenario.seed, scenario.oversubscribe, scenario.expect) == (0, False, Expectation())
    assert (scenario.sampling.temperature, scenario.sampling.max_tokens) == (0.7, 24)
    assert scenario.pattern.timeout == 10.0
    assert scenario.workload.arrivals.process == "poisson"
    assert scenario.topology.nodes["a"].context == 512


def test_the_topology_is_found_beside_the_scenario_from_any_directory(
    files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write()
    monkeypatch.chdir("/")
    assert load_scenario(path).topology.name == "pair"


@pytest.mark.parametrize("path", sorted(ROOT.glob("scenarios/**/*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_scenarios_are_valid_and_survive_being_resolved(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path)
    assert _written_and_read(scenario, tmp_path) == scenario


def test_assignments_from_the_command_line_win(files: Any) -> None:
    scenario = files.load(
        "seed=9", "pattern.layers=0", "workload.arrivals.rate=30/min", "sampling={temperature: 0}", "expect={}"
    )
    assert scenario.seed == 9
    assert scenario.pattern.layers == 0
    assert scenario.workload.arrivals.rate == 0.5
    assert scenario.sampling.temperature == 0
    assert scenario.expect == Expectation()


def test_the_last_of_two_assignments_counts(files: Any) -> None:
    assert files.load("seed=1", "seed=2").seed == 2


def test_a_value_may_hold_an_equals_sign(files: Any) -> None:
    scenario = files.load('expect={queue.max: "<= 3"}')
    assert {metric: bound.written for metric, bound in scenario.expect.bounds.items()} == {"queue.max": "<= 3"}


def test_an_empty_mapping_can_be_filled_from_the_command_line(files: Any) -> None:
    filled = files.load("sampling.temperature=0.1", scenario=files.scenario + "sampling: {}\n")
    assert filled.sampling.temperature == 0.1


def test_layers_zero_need_no_neighbours(files: Any) -> None:
    assert files.load("pattern.layers=0", "pattern.proposers=5").pattern.peers_needed == 0
    with pytest.raises(SpecError, match="needs 5 neighbours for each node; 'a' lacks 4"):
        files.load("pattern.proposers=5")


@pytest.mark.parametrize("name", ["1e3", "null", "0x1f", "2024-01-01", "007", "no", "1-0"])
def test_names_that_yaml_could_take_for_something_else_survive(files: Any, tmp_path: Path, name: str) -> None:
    topology = files.topology.replace("  b:", f"  '{name}':").replace("[b, s1]", f"['{name}', s1]")
    scenario = files.load(scenario=files.scenario.replace("small", f"'{name}'"), topology=topology)
    again = _written_and_read(scenario, tmp_path)
    assert again == scenario
    assert again.topology.neighbours("a") == [name]


@pytest.mark.parametrize("seed", range(25))
def test_a_random_scenario_survives_being_resolved(seed: int, tmp_path: Path) -> None:
    scenario = Scenario.model_validate(_random_scenario(random.Random(seed)))
    again = _written_and_read(scenario, tmp_path)
    assert again == scenario
    assert again.topology.resolved_links == scenario.topology.resolved_links


def _random_scenario(draw: random.Random) -> dict[str, Any]:
    def number(top: float) -> str:
        return repr(draw.uniform(1e-3, top))

    def shape() -> dict[str, str]:
        values = {"bandwidth": number(1e4) + "kbit", "delay": number(59) + draw.choice(["us", "ms", "s", "min"])}
        return {key: value for key, value in values.items() if draw.random() < 0.6}

    names = [f"n{number}" for number in range(draw.randint(1, 5))]
    words = ["sure", "maybe", "yes", "null", "1e3", "ä b", "'", '"', "#", ": "]
    return {
        "name": "random",
        "seed": draw.randrange(2**64),
        "topology": {
            "name": draw.choice(words),
            "defaults": {"link": shape()},
            "nodes": {
                name: {
                    "model": draw.choice(["zoo/alpha", "path:/tmp/a b.gguf", "hf:o/r/f.gguf"]),
                    "cpus": draw.uniform(0.01, 4),
                    "memory": f"{draw.randrange(1, 2**40)}B",
                    "context": draw.randint(600, 4096),  # six responses of 99 tokens fit
                }
                for name in names
            },
            "switches": ["s1"],
            "links": [{"endpoints": [name, "s1"], **shape(), "up": shape(), "down": shape()} for name in names],
        },
        "pattern": {
            "kind": "gossip-moa",
            "layers": draw.randint(0, 3),
            "proposers": draw.randint(0, len(names) - 1),
            "timeout": number(100) + "s",
            "substitute": {draw.choice(words): draw.choice(words) for _ in range(draw.randint(0, 3))},
        },
        "sampling": {"temperature": draw.uniform(0, 2), "max_tokens": draw.randint(1, 99)},
        "workload": {
            "prompts": "worldfacts",
            "arrivals": {"rate": number(100) + draw.choice(["/s", "/min", "/h"])},
            "count": draw.randint(1, 1000),
        },
        "expect": {"latency.p95": f"< {number(10)}s"} if draw.random() < 0.5 else {},
        "oversubscribe": draw.random() < 0.5,
    }


def test_the_schema_takes_a_topology_or_its_path_and_no_other_key() -> None:
    schema = json_schema()
    kinds = schema["properties"]["topology"]["anyOf"]
    assert {"type": "string"} in kinds
    assert any("$ref" in kind for kind in kinds)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"name", "topology", "pattern", "workload"}


def test_the_command_line_reaches_defaults_metrics_lists_and_the_topologys_file(files: Any) -> None:
    scenario = files.load(
        "sampling.temperature=0.0",
        "expect.latency.p95=< 3s",
        "topology.links.1.delay=5ms",
        "topology.nodes.b.cpus=0.1",
    )
    assert scenario.sampling.temperature == 0
    assert [bound.limit for bound in scenario.expect.bounds.values()] == [0.95, 3.0]
    assert [link.up.delay for link in scenario.topology.resolved_links] == [0.010, 0.005]
    assert scenario.topology.nodes["b"].cpus == 0.1


def test_a_models_file_is_looked_for_beside_the_file_that_names_it(files: Any, tmp_path: Path) -> None:
    topology = files.topology.replace("zoo/alpha", "path:models/m.gguf")
    assert files.load(topology=topology).topology.nodes["a"].model == f"path:{tmp_path / 'models' / 'm.gguf'}"


def test_sparse_neighbourhoods_are_those_of_the_links(files: Any) -> None:
    line = files.topology.replace("switches: [s1]\n", "").replace("[a, s1]", "[a, b]").replace("[b, s1]", "[b, c]")
    line = line.replace("links:", "  c: {model: zoo/gamma, cpus: 0.3, memory: 160MiB}\nlinks:")
    everyone = files.load(topology=line)
    assert {node: everyone.neighbours(node) for node in "abc"} == {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}
    sparse = files.load("pattern.neighbours=linked", topology=line)
    assert {node: sparse.neighbours(node) for node in "abc"} == {"a": ["b"], "b": ["a", "c"], "c": ["b"]}
    with pytest.raises(SpecError, match="pattern: needs 2 neighbours for each node; 'a' lacks 1"):
        files.load("pattern.neighbours=linked", "pattern.proposers=2", topology=line)
