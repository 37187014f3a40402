"""Which nodes stand on which host, as ``validate --hosts`` prints it."""

import random
import sys
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from testbed import cli
from testbed.core.errors import SpecError
from testbed.schema.hosts import EngineHosts, load_hosts
from testbed.schema.scenario import Scenario
from testbed.world.hosts.placement import Placement, place

Validated = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def validated(
    files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Validated:
    """Exit code, output and errors of ``testbed validate --hosts`` with a hosts file."""

    def validate(hosts: str, *options: str) -> tuple[int, list[str], list[str]]:
        (tmp_path / "hosts.yaml").write_text(hosts, encoding="utf-8")
        arguments = ["validate", str(files.write()), "--hosts", str(tmp_path / "hosts.yaml"), *options]
        monkeypatch.setattr(sys, "argv", ["testbed", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, printed.out.splitlines(), printed.err.splitlines()

    return validate


def _placed(scenario: Scenario, nodes: str, switches: str, links: str, hosts: dict[str, Any], **link: str) -> Placement:
    """Nodes of half a core each; links like ``a-s1 s1-b``, with a delay unless ``link`` says otherwise."""
    topology = {
        "name": "t",
        "nodes": {name: {"model": "zoo/alpha", "cpus": 0.5, "memory": "64MiB"} for name in nodes.split()},
        "switches": switches.split(),
        "links": [{"endpoints": pair.split("-")} for pair in links.split()],
        "defaults": {"link": {"delay": "5ms", **link}},
    }
    written = scenario.topology.model_validate(topology)
    return place(scenario.model_copy(update={"topology": written}), EngineHosts.model_validate(hosts))


def _hosts(*cpus: float) -> dict[str, Any]:
    return {f"h{number}": {"cpus": cores, "memory": "4GiB"} for number, cores in enumerate(cpus, 1)}


def _crossing(placement: Placement) -> list[str]:
    return [link.name for link in placement.crossing]


def test_what_fits_on_one_host_stands_on_one(scenario: Scenario) -> None:
    placement = _placed(scenario, "a b c", "s1", "a-s1 b-s1 c-s1", _hosts(4, 4))
    assert _crossing(placement) == []


def test_two_groups_are_parted_at_the_link_between_them(scenario: Scenario) -> None:
    links = "a-s1 d-s2 b-s1 e-s2 c-s1 f-s2 s1-s2"
    placement = _placed(scenario, "a d b e c f", "s1 s2", links, _hosts(1.5, 1.5))
    assert _crossing(placement) == ["s1-s2"]
    assert {demand.cpus for demand in placement.demands.values()} == {1.5}


def test_a_chain_is_cut_once(scenario: Scenario) -> None:
    placement = _placed(scenario, "a b c d e f", "", "a-b b-c c-d d-e e-f", _hosts(1.5, 1.5))
    assert _crossing(placement) == ["c-d"]


def test_the_file_chooses_before_anything_else(scenario: Scenario) -> None:
    hosts = _hosts(4, 4)
    hosts["h2"]["nodes"] = ["b"]
    placement = _placed(scenario, "a b", "s1", "a-s1 b-s1", hosts)
    assert placement.hosts["b"] == "h2"
    assert _crossing(placement) == []


def test_a_link_without_a_delay_never_crosses(scenario: Scenario) -> None:
    placement = _placed(scenario, "a b", "", "a-b", _hosts(1, 4), delay="0ms")
    assert _crossing(placement) == []


@pytest.mark.parametrize("seed", range(8))
def test_few_more_links_cross_than_must(seed: int, scenario: Scenario) -> None:
    draw = random.Random(seed)
    names = list("abcdefgh")
    pairs = list(pairwise(names))
    pairs += draw.sample([(a, b) for a in names for b in names if ord(b) - ord(a) > 1], 5)
    placement = _placed(scenario, "a b c d e f g h", "", " ".join(map("-".join, pairs)), _hosts(2, 2))
    halves = [dict(zip(names, sides, strict=True)) for sides in product("12", repeat=8) if sides.count("1") == 4]
    fewest = min(sum(side[a] != side[b] for a, b in pairs) for side in halves)
    assert len(placement.crossing) <= fewest + 1
    assert all(demand.cpus <= 2 for demand in placement.demands.values())


def test_validate_prints_hosts_and_the_links_between_them(validated: Validated) -> None:
    code, lines, _ = validated("h1: {cpus: 64, memory: 64GiB}\nh2: {cpus: 1, memory: 1GiB}\n")
    assert code == 0
    assert lines[-1] == "  links between hosts: none"
    assert any(line.startswith("  h1: a, b") for line in lines)
    assert any(line.startswith("  h2: nothing (0 CPUs") for line in lines)


@pytest.mark.parametrize(
    ("hosts", "sentence"),
    [
        ("h1: {cpu: 4, memory: 4GiB}\n", "hosts.yaml:1: h1.cpu: there is no such key here; did you mean `cpus`?"),
        ("h1: {cpus: 4}\n", "memory"),
        ("h1: {cpus: 0, memory: 4GiB}\n", "hosts.yaml:1: h1.cpus"),
        ("H1: {cpus: 4, memory: 4GiB}\n", "small letters, digits"),
        ("{}\n", "hosts.yaml:1"),
        ("h1: {cpus: 4, memory: 4GiB, nodes: [zz]}\n", "hosts.yaml:1: h1.nodes[0]: there is no node or switch 'zz'"),
        (
            "h1: {cpus: 4, memory: 4GiB, nodes: [a]}\nh2: {cpus: 4, memory: 4GiB, nodes: [a]}\n",
            "hosts.yaml:2: h2.nodes[0]: 'a' is on 'h1' already; name it once",
        ),
    ],
)
def test_a_wrong_hosts_file_is_refused_with_its_line(hosts: str, sentence: str, validated: Validated) -> None:
    code, _, errors = validated(hosts)
    assert code == 2
    assert sentence in "\n".join(errors)


def test_what_only_one_host_can_do_is_refused_by_name(validated: Validated) -> None:
    hosts = "h1: {cpus: 4, memory: 4GiB}\n"
    for assignment, sentence in (
        ("dilation=auto", "dilation: `auto` is for one host; for several write a number, like 1"),
        ("oversubscribe=true", "oversubscribe: is for one host; leave it out for several"),
    ):
        code, _, errors = validated(hosts, "--set", assignment)
        assert code == 2
        assert errors == [sentence]


def test_nodes_that_links_without_a_delay_join_cannot_be_parted(scenario: Scenario) -> None:
    hosts = {"h1": {"cpus": 4, "memory": "4GiB", "nodes": ["a"]}, "h2": {"cpus": 4, "memory": "4GiB", "nodes": ["b"]}}
    with pytest.raises(SpecError, match="'a' and 'b' are on two hosts, and links without a delay join them"):
        _placed(scenario, "a b", "s1", "a-s1 s1-b", hosts, delay="0ms")


def test_a_node_without_a_share_of_a_host_needs_one_in_the_file(scenario: Scenario, tmp_path: Path) -> None:
    nodes = {"a": {"model": "zoo/alpha", "cpus": 0.5, "memory": "64MiB"}, "eth": {"interface": "eth9"}}
    links = [{"endpoints": ["a", "s1"]}, {"endpoints": ["eth", "s1"]}]
    topology = scenario.topology.model_validate({"name": "t", "nodes": nodes, "switches": ["s1"], "links": links})
    hosts = tmp_path / "hosts.yaml"
    hosts.write_text("h1: {cpus: 4, memory: 4GiB}\n", encoding="utf-8")
    with pytest.raises(SpecError, match="node 'eth' of kind 'interface' has no host"):
        load_hosts(hosts, topology)
    hosts.write_text("h1: {cpus: 4, memory: 4GiB, nodes: [eth]}\n", encoding="utf-8")
    assert load_hosts(hosts, topology).chosen == {"eth": "h1"}


def test_hosts_that_are_too_small_end_validate_with_3(validated: Validated) -> None:
    code, lines, errors = validated("h1: {cpus: 0.01, memory: 1MiB}\n")
    assert code == 3
    assert lines[0].endswith(": valid")
    assert "no placement was found" in errors[0]
