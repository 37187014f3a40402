"""Graphs as other projects write them: formats, names of attributes, directions, parallel edges, and any graph."""

import json
from pathlib import Path
from typing import Any

import networkx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.schema.network.topology import Topology
from testbed.topologies.draft import Draft
from testbed.topologies.imported import read_import
from testbed.topologies.source import load

WRITERS = {
    "graphml": networkx.write_graphml,
    "gml": networkx.write_gml,
    "json": lambda graph, path: path.write_text(json.dumps(networkx.node_link_data(graph, edges="links"))),
}


def _draft(directory: Path, graph: Any, form: str = "graphml") -> Draft:
    path = directory / "net.graph"  # what a file is called says nothing
    WRITERS[form](graph, path)
    draft = read_import(path)
    assert draft is not None
    return draft


def _topology(directory: Path, draft: Draft) -> Topology:
    path = directory / "net.yaml"
    path.write_text(draft.yaml({}), encoding="utf-8")
    return load(str(path), "", None)


@pytest.mark.parametrize("form", WRITERS)
def test_formats_are_told_by_content(form: str, tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_node("x", label="Graz")
    graph.add_node("y", label="Wien")
    graph.add_edge("x", "y", latency=7.5, jitter=0.5, packetloss=0.02)
    draft = _draft(tmp_path, graph, form)
    (link,) = _topology(tmp_path, draft).resolved_links
    assert (link.a, link.b) == ("graz", "wien") if form != "gml" else ("x", "y")
    for direction in (link.up, link.down):
        assert (direction.delay, direction.jitter.deviation, direction.loss.mean) == (0.0075, 0.0005, 0.02)
    assert "Read: `jitter` as ms, `latency` as ms, `packetloss` as a share." in draft.comment
    assert "Not used" not in draft.comment


def test_a_value_with_a_unit_needs_no_convention(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_edge("a", "b", delay="3ms", bandwidth="2 Mbit/s", loss="1%")
    (link,) = _draft(tmp_path, graph).links
    assert (link.up.delay, link.up.bandwidth, link.up.loss) == (0.003, 2e6, 0.01)


def test_what_is_not_used_is_named(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_edge("a", "b", bandwidth=10, mtu=1400, packet_loss=0.5)
    graph.add_edge("b", "c", packet_loss=7.0)
    comment = _draft(tmp_path, graph).comment
    assert "Not used: `bandwidth`, `mtu`, some values of `packet_loss`." in comment
    assert "The bandwidth of 2 links is not known" in comment


def test_what_nodes_have_is_used_or_named(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_node(0, Name="Bergen", Lat=60.4, lon=5.3)
    graph.add_node(1, NAME="Oslo", Lat=59.9, lon=10.8, packetloss=0.01, Country="Norway")
    graph.add_edge(0, 1)
    draft = _draft(tmp_path, graph)
    assert draft.nodes == ["bergen", "oslo"]
    assert draft.links[0].up.delay == pytest.approx(0.0015, rel=0.1)
    assert "Not used: `packetloss`, `Country`." in draft.comment


def test_what_nodes_send_and_take_in_bounds_the_directions(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_node("a", bandwidthup=100, bandwidthdown=800)  # KiB/s
    graph.add_node("b", bandwidthup=50, bandwidthdown=80)
    graph.add_edge("a", "b")
    (link,) = _draft(tmp_path, graph).links
    assert (link.up.bandwidth, link.down.bandwidth) == (80 * 8192, 50 * 8192)


def test_a_direction_is_a_direction(tmp_path: Path) -> None:
    graph = networkx.MultiDiGraph()
    graph.add_edge("a", "b", latency=1.0)
    graph.add_edge("b", "a", latency=30.0)
    graph.add_edge("c", "a", latency=4.0)
    draft = _draft(tmp_path, graph)
    both, alone = draft.links
    assert (both.a, both.up.delay, both.down.delay) == ("a", 0.001, 0.03)
    assert (alone.up.delay, alone.down.delay) == (0.004, 0.004)
    assert "1 edge in one direction alone: the other is given the same numbers." in draft.comment


def test_parallel_links_that_differ_stay_apart(tmp_path: Path) -> None:
    graph = networkx.MultiGraph()
    for speed, latency in ((1e6, 5.0), (2e6, 5.0), (9e6, 80.0)):
        graph.add_edge("a", "b", LinkSpeedRaw=speed, latency=latency)
    links = _topology(tmp_path, _draft(tmp_path, graph)).resolved_links
    assert [(link.name, link.up.bandwidth, link.up.delay) for link in links] == [
        ("a-b", 3e6, 0.005),
        ("a-b#2", 9e6, 0.08),
    ]


def test_places_and_lengths_give_delays(tmp_path: Path) -> None:
    graph = networkx.Graph()
    graph.add_node("a", pos=[16.4, 48.2])
    graph.add_node("b", pos=[16.4, 49.2])
    graph.add_node("c", lat=50.2, lon=16.4)
    graph.add_edge("a", "b")
    graph.add_edge("b", "c", dist=200.0)
    first, second = _draft(tmp_path, graph, "json").links
    assert first.up.delay == pytest.approx(111.2e3 / 2e8, rel=0.01)  # a degree of latitude
    assert second.up.delay == pytest.approx(200e3 / 2e8, rel=0.001)


def _graphs() -> st.SearchStrategy[Any]:
    """Graphs of all four sorts: directed or not, with loops and parallel edges, unconnected, with any labels."""
    labels = st.one_of(st.text(st.characters(codec="utf-8", exclude_categories=["C"])), st.integers().map(str))
    numbers = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-9, 10**6), st.text("ab1%ms "))
    edge = st.dictionaries(st.sampled_from(["latency", "loss", "bandwidth", "LinkSpeedRaw", "dist", "x"]), numbers)
    return st.builds(
        _graph,
        st.sampled_from([networkx.MultiGraph, networkx.MultiDiGraph]),
        st.lists(labels, min_size=1, max_size=8),
        st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), edge), max_size=14),
    )


def _graph(sort: Any, labels: list[str], edges: list[tuple[int, int, dict[str, Any]]]) -> Any:
    graph = sort()
    for number, label in enumerate(labels):
        graph.add_node(number, label=label)
    for a, b, edge in edges:
        graph.add_edge(a % len(labels), b % len(labels), **edge)
    return graph


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=_graphs())
def test_any_graph_becomes_a_topology_that_keeps_its_ends(graph: Any, tmp_path: Path) -> None:
    draft = _draft(tmp_path, graph, "json")
    topology = _topology(tmp_path, draft)
    undirected = networkx.Graph(graph)
    part = max(networkx.connected_components(undirected), key=len)
    assert len(topology.nodes) == len(part)
    pairs = {frozenset(ends) for ends in undirected.subgraph(part).edges if len(set(ends)) == 2}
    assert len({frozenset((link.a, link.b)) for link in topology.resolved_links}) == len(pairs)
    loops = sum(a == b for a, b in graph.edges() if a in part)
    assert (f"Left out: {loops} link" in draft.comment) == bool(loops)
