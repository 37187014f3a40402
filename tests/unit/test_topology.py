"""Topologies: what is said of links and where it comes from, and who reaches whom over which of them."""

import random
from typing import Any

import pytest
from pydantic import ValidationError

from testbed.patterns.participant import Price
from testbed.schema.network.direction import Direction
from testbed.schema.network.topology import Topology
from testbed.world.nodes.kinds import Container

NODE = {"model": "zoo/alpha", "cpus": 0.5, "memory": "64MiB"}


def _topology(nodes: str, switches: str, *links: str | dict[str, Any], **more: Any) -> Topology:
    """``_topology("a b", "s1", "a s1", {"endpoints": ["b", "s1"], "delay": "5ms"})``"""
    entries = [{"endpoints": link.split()} if isinstance(link, str) else link for link in links]
    parts = {"name": "t", "nodes": dict.fromkeys(nodes.split(), NODE), "switches": switches.split(), "links": entries}
    return Topology.model_validate({**parts, **more})


def test_a_link_of_which_nothing_is_said_is_as_fast_as_the_host() -> None:
    link = _topology("a", "s1", "a s1").resolved_links[0]
    assert link.up == link.down == Direction(bandwidth=None, delay=0.0)


def test_each_value_comes_from_the_most_specific_place_that_says_it() -> None:
    link = {
        "endpoints": ["a", "s1"],
        "delay": "2ms",
        "up": {"bandwidth": "5mbit"},
        "down": {"delay": "3ms"},
    }
    resolved = _topology("a", "s1", link, defaults={"link": {"bandwidth": "1mbit", "delay": "1ms"}}).resolved_links[0]
    assert resolved.up == Direction(bandwidth=5e6, delay=0.002)
    assert resolved.down == Direction(bandwidth=1e6, delay=0.003)


def test_a_zero_is_said_and_not_filled_from_the_defaults() -> None:
    link = {"endpoints": ["a", "s1"], "delay": "0ms", "down": {"delay": "4ms"}}
    resolved = _topology("a", "s1", link, defaults={"link": {"delay": "1ms"}}).resolved_links[0]
    assert (resolved.up.delay, resolved.down.delay) == (0.0, 0.004)


@pytest.mark.parametrize("seed", range(20))
def test_merging_agrees_with_a_plain_search_from_the_inside_out(seed: int) -> None:
    draw = random.Random(seed)

    def shape() -> dict[str, str]:
        values = {"bandwidth": f"{draw.randint(1, 99)}mbit", "delay": f"{draw.randint(0, 99)}ms"}
        return {key: value for key, value in values.items() if draw.random() < 0.5}

    around, own, up, down = shape(), shape(), shape(), shape()
    link = {"endpoints": ["a", "s1"], **own, "up": up, "down": down}
    resolved = _topology("a", "s1", link, defaults={"link": around}).resolved_links[0]
    for direction, said in ((resolved.up, up), (resolved.down, down)):
        expected = {**around, **own, **said}
        assert direction.bandwidth == (float(expected["bandwidth"][:-4]) * 1e6 if "bandwidth" in expected else None)
        assert direction.delay == pytest.approx(float(expected.get("delay", "0ms")[:-2]) / 1e3)


def test_a_route_names_its_links_in_their_order() -> None:
    topology = _topology("a b", "s1 s2", "a s1", "s2 s1", "b s2")
    assert [link.name for link in topology.route("a", "b")] == ["a-s1", "s2-s1", "b-s2"]
    assert [link.name for link in topology.route("b", "a")] == ["b-s2", "s2-s1", "a-s1"]
    assert topology.route("a", "a") == []


def test_an_island_is_refused_once() -> None:
    with pytest.raises(ValidationError) as refusal:
        _topology("a b c d", "s1 s2", "a s1", "b s1", "c s2", "d s2")
    assert str(refusal.value).count("cannot be reached") == 1
    assert "nodes.c: cannot be reached from 'a'" in str(refusal.value)


def test_neighbours_stand_in_the_order_of_the_file() -> None:
    topology = _topology("d b a c", "s1", *(f"{name} s1" for name in "abcd"))
    assert topology.neighbours("a") == ["d", "b", "c"]


def test_linked_are_those_with_no_further_node_between() -> None:
    line = _topology("d a b c", "", "a b", "b c", "c d")
    assert {node: line.linked(node) for node in line.nodes} == {
        "d": ["c"],
        "a": ["b"],
        "b": ["a", "c"],
        "c": ["d", "b"],
    }
    halls = _topology("a b c d", "s1 s2 s3", "a s1", "b s2", "s1 s2", "c s3", "d s3", "b c")
    assert [halls.linked(node) for node in "abcd"] == [["b"], ["a", "c"], ["b", "d"], ["c"]]


def test_a_copy_with_other_links_has_other_neighbours() -> None:
    line, triangle = _topology("a b c", "", "a b", "b c"), _topology("a b c", "", "a b", "b c", "c a")
    assert line.linked("a") == ["b"]
    copy = line.model_copy(update={"links": triangle.links})
    assert (copy.linked("a"), len(copy.resolved_links)) == (["b", "c"], 3)


def test_a_node_alone_needs_no_link() -> None:
    assert _topology("a", "").neighbours("a") == []


@pytest.mark.parametrize("seed", range(15))
def test_routes_in_a_random_tree_join_end_to_end_and_are_each_others_reverse(seed: int) -> None:
    draw = random.Random(seed)
    switches = [f"s{number}" for number in range(1, draw.randint(2, 6))]
    nodes = [f"n{number}" for number in range(draw.randint(2, 8))]
    links = [f"{switch} {draw.choice(switches[:index])}" for index, switch in enumerate(switches) if index]
    links += [" ".join(draw.sample([node, draw.choice(switches)], 2)) for node in nodes]
    draw.shuffle(links)
    topology = _topology(" ".join(nodes), " ".join(switches), *links)
    for source in nodes:
        assert topology.neighbours(source) == [node for node in nodes if node != source]
        for target in topology.neighbours(source):
            route = topology.route(source, target)
            here = source
            for link in route:
                assert here in (link.a, link.b)
                here = link.b if here == link.a else link.a
            assert here == target
            assert topology.route(target, source) == route[::-1]


def test_a_loop_of_switches_is_refused_at_the_link_that_closes_it() -> None:
    with pytest.raises(ValidationError, match=r"links\[2\]: closes a loop"):
        _topology("a", "s1 s2 s3", "s1 s2", "s2 s3", "s3 s1", "a s1")
    with pytest.raises(ValidationError, match=r"links\[1\]: closes a loop"):
        _topology("a", "s1 s2", "s1 s2", "s2 s1", "a s1")
    with pytest.raises(ValidationError, match=r"links\[0\]: closes a loop"):
        _topology("a", "s1", "s1 s1", "a s1")


def test_a_loop_of_nodes_is_none_of_switches() -> None:
    topology = _topology("a b c", "s1 s2", "a s1", "a s2", "b s1", "b s2", "b c", "c a")
    assert topology.neighbours("c") == ["a", "b"]


def test_several_links_between_two_ends_have_names_of_their_own_and_the_shortest_carries_all() -> None:
    def link(ends: str, delay: str) -> dict[str, Any]:
        return {"endpoints": ends.split(), "delay": delay}

    links = (link("a b", "5ms"), link("b a", "9ms"), link("a b", "2ms"), link("b s1", "3ms"), link("b s1", "1ms"))
    topology = _topology("a b c", "s1", *links, link("s1 c", "1ms"))
    assert [one.name for one in topology.resolved_links] == ["a-b", "b-a", "a-b#2", "b-s1", "b-s1#2", "s1-c"]
    assert [one.name for one in topology.route("a", "c")] == ["a-b#2", "b-s1#2", "s1-c"]
    assert [one.name for one in topology.route("c", "a")] == ["s1-c", "b-s1#2", "a-b#2"]
    equal = _topology("a b", "", link("a b", "5ms"), link("b a", "5ms"))
    assert [one.name for one in equal.route("b", "a")] == ["a-b"]


def test_a_node_has_no_link_to_itself() -> None:
    with pytest.raises(ValidationError, match=r"links\[0\]\.endpoints: links 'a' to itself"):
        _topology("a b", "", "a a", "a b")


def test_two_links_have_two_names() -> None:
    ends = ({"endpoints": ["a", "b-c"]}, {"endpoints": ["a-b", "c"]}, {"endpoints": ["a", "c"]})
    with pytest.raises(ValidationError, match=r"links\[1\]: would be called 'a-b-c', as links\[0\] is; swap"):
        _topology("a b-c a-b c", "", *ends)
    swapped = {"endpoints": ["c", "a-b"]}
    assert len(_topology("a b-c a-b c", "", ends[0], swapped, ends[2]).resolved_links) == 3


def test_a_switch_has_room_for_999_links() -> None:
    """The thousandth port of a switch with a long name would have a name that Linux does not take."""
    names = [f"n{number}" for number in range(1000)]
    _topology(" ".join(names[1:]), "s1", *(f"{name} s1" for name in names[1:]))
    with pytest.raises(ValidationError, match=r"switches\[0\]: 's1' has 1000 links; a switch can have 999"):
        _topology(" ".join(names), "s1", *(f"{name} s1" for name in names))


@pytest.mark.parametrize("switches", ["s1 s1", "a"])
def test_names_are_taken_once(switches: str) -> None:
    with pytest.raises(ValidationError, match="is taken twice"):
        _topology("a", switches, f"a {switches.split()[0]}")


@pytest.mark.parametrize("name", ["a", "7", "a-b", "raspberry-pi-4", "x" * 32])
def test_a_good_node_name(name: str) -> None:
    assert list(_topology(name, "s1", f"{name} s1").nodes) == [name]


@pytest.mark.parametrize("name", ["A", "-a", "a-", "a_b", "a.b", "ä", "x" * 33, "", "a\n"])
def test_a_bad_node_name(name: str) -> None:
    with pytest.raises(ValidationError, match="small letters, digits and inner hyphens"):
        Topology.model_validate({"name": "t", "nodes": {name: NODE}})


@pytest.mark.parametrize("name", ["S1", "1s", "s-1", "s12345678"])
def test_a_bad_switch_name(name: str) -> None:
    """With more than eight characters a port's name would not fit into the fifteen that Linux gives an interface."""
    with pytest.raises(ValidationError, match="a letter and at most seven more"):
        _topology("a", name, f"a {name}")


def test_a_node_says_its_tier_price_and_power() -> None:
    more = {"tier": "edge", "price": {"input": 0.5, "output": 2}, "power": "1.5kW"}
    node = Container.model_validate({"kind": "container", **NODE, **more})
    assert (node.tier, node.power) == ("edge", 1500)
    assert node.price == Price(input=0.5, output=2)


@pytest.mark.parametrize(
    "wrong", [{"tier": "fog"}, {"price": {"input": 1}}, {"price": {"input": -1, "output": 1}}, {"power": 8}]
)
def test_a_tier_price_or_power_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Container.model_validate({"kind": "container", **NODE, **wrong})
