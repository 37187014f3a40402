"""Topologies as files: the ready-made ones, those that are imported or generated, and how they are drawn."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from testbed import cli
from testbed.core.errors import SpecError
from testbed.schema.network.shape import presets
from testbed.schema.network.topology import Topology
from testbed.schema.reading.document import Document
from testbed.show.topologies.svg import draw
from testbed.topologies.attributes import great_circle
from testbed.topologies.draft import Draft
from testbed.topologies.generate import generate
from testbed.topologies.imported import read_import
from testbed.topologies.source import load

PROJECT = Path(__file__).parents[2]
READY_MADE = sorted((PROJECT / "topologies").glob("*.yaml"))
BACKBONE = PROJECT / "topologies" / "backbone.graphml"
SVG = "{http://www.w3.org/2000/svg}"


def _imported(path: Path) -> Draft:
    draft = read_import(path)
    assert draft is not None
    return draft


def _topology(*arguments: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(cli.app, ["topology", *map(str, arguments)])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome.exit_code, outcome.output


@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_every_ready_made_topology_is_valid_and_fits_a_small_host(path: Path) -> None:
    assert path.read_text().startswith("# "), "a comment on top says what it shows"
    topology = Document.load(path).parse(Topology)
    assert sum(node.cpus for node in topology.emulated.values()) <= 2 + 1e-9
    assert len(topology.nodes) <= 20
    by_name = path.stem.startswith("real_")  # whose models are fetched when a run asks for them
    assert by_name or all(model.startswith(("zoo/", "synthetic:")) for model in topology.model_references)


def test_the_ready_made_topologies_are_those_that_are_promised() -> None:
    promised = (
        "star ring line full_mesh tree home_mesh equal_mesh factory device_edge_cloud random_geometric home_endpoint "
        "board home_edge_cloud pipeline_ring small_ring scaling_ring real_device_cloud real_mesh real_pair real_ring "
        "foreign_rpc foreign_rpc_ring"  # in the docs
    )
    assert {path.stem for path in READY_MADE} == set(promised.split())


PRESETS: dict[str, dict[str, Any]] = {
    "ethernet": {"bandwidth": 1e9, "delay": 0.0001},
    "wifi": {},
    "lte": {},
    "5g-urban": {"delay": 0.020, "jitter": 0.005, "loss": 0.001, "bandwidth": 100e6},
    "cell-edge": {"delay": 0.120, "jitter": 0.030, "loss": 0.01, "bandwidth": 5e6},
    "congested": {"delay": 0.200, "jitter": 0.050, "loss": 0.03, "bandwidth": 1e6},
    "satellite-geo": {"delay": 0.340},
}


def test_there_are_the_presets_that_were_asked_for_each_with_its_source() -> None:
    assert set(presets()) == set(PRESETS)
    assert all(len(preset.source) > 20 for preset in presets().values())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_has_the_numbers_that_were_asked_for(preset: str) -> None:
    link = Topology.model_validate(
        {
            "name": "t",
            "nodes": {name: {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"} for name in "ab"},
            "links": [{"endpoints": ["a", "b"], "preset": preset}],
        }
    ).resolved_links[0]
    for direction in (link.up, link.down):
        jitter, loss = direction.jitter.deviation, direction.loss.mean
        has = {"bandwidth": direction.bandwidth, "delay": direction.delay, "jitter": jitter, "loss": loss}
        assert {key: has[key] for key in PRESETS[preset]} == pytest.approx(PRESETS[preset])
        assert bool(direction.loss.to_bad) == (preset == "cell-edge"), "only the edge of a cell loses in bursts"
    assert (link.up == link.down) == (preset != "satellite-geo")


def test_what_is_generated_is_the_same_every_time_and_another_with_another_seed() -> None:
    first, again, other = (generate(f"geometric:nodes=12,seed={seed}").yaml({}) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_nodes_that_are_generated_as_devices_have_what_those_have(tmp_path: Path) -> None:
    topology = load("geometric:nodes=3", "device=nuc", tmp_path / "three.yaml")
    assert {(node.device, node.cpus, node.memory) for node in topology.nodes.values()} == {("nuc", None, 16 * 2**30)}
    assert load(str(tmp_path / "three.yaml"), "", None) == topology


def test_the_ready_made_random_topology_is_what_its_comment_says() -> None:
    text = (PROJECT / "topologies" / "random_geometric.yaml").read_text()
    recipe = re.search(r"geometric:\S+", text.replace("\n# ", " "))
    assert recipe is not None
    assert generate(recipe[0]).yaml({}) == text


@pytest.mark.parametrize("radius", [0.01, 0.2, 1.5])
def test_whatever_the_radius_all_devices_are_connected(radius: float) -> None:
    draft = generate(f"geometric:nodes=15,radius={radius},seed=1")
    assert len(draft.links) >= 14
    if radius == 0.01:
        assert len(draft.links) == 14
    if radius == 1.5:
        assert len(draft.links) == 15 * 14 / 2


def test_an_import_takes_delays_from_the_map_and_bandwidths_from_the_file() -> None:
    draft = _imported(BACKBONE)
    assert draft.nodes == ["lisboa", "madrid", "paris", "zurich", "milano", "wien", "krakow", "kobenhavn"]
    links = {(link.a, link.b): link for link in draft.links}
    assert links["lisboa", "madrid"].up.bandwidth == 1e9
    # 503 km, at two thirds of the speed of light.
    assert links["lisboa", "madrid"].up.delay == pytest.approx(503e3 / 2e8, rel=0.01)


def test_distances_on_the_earth() -> None:
    quarter = 6_371_008.8 * 3.141592653589793 / 2
    assert great_circle(0, 0, 90, 0) == pytest.approx(quarter)
    assert great_circle(0, 10, 0, 100) == pytest.approx(quarter)
    assert great_circle(0, 0, 0, 180) == pytest.approx(2 * quarter)
    assert great_circle(48.2, 16.4, 48.2, 16.4) == 0


GRAPHML = """<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="l" for="node" attr.name="label" attr.type="string"/>
  <key id="s" for="edge" attr.name="LinkSpeedRaw" attr.type="double"/>
  <graph edgedefault="undirected">{}</graph>
</graphml>
"""


def _graphml(directory: Path, labels: list[str], edges: list[tuple[int, int, float | None]]) -> Path:
    nodes = "".join(f'<node id="{n}"><data key="l">{label}</data></node>' for n, label in enumerate(labels))
    links = "".join(
        f'<edge source="{a}" target="{b}">{"" if speed is None else f"<data key={chr(34)}s{chr(34)}>{speed}</data>"}'
        "</edge>"
        for a, b, speed in edges
    )
    path = directory / "net.graphml"
    path.write_text(GRAPHML.format(nodes + links), encoding="utf-8")
    return path


def test_imported_names_are_valid_and_their_own(tmp_path: Path) -> None:
    labels = ["São Paulo (2)", "sao-paulo 2", "?", "None", "null", "7", "x" * 40, "x" * 41]
    path = _graphml(tmp_path, labels, [(0, other, 1e9) for other in range(1, 8)])
    code, _ = _topology(str(path), "--yaml", str(tmp_path / "out.yaml"))
    assert code == 0
    topology = Document.load(tmp_path / "out.yaml").parse(Topology)
    assert list(topology.nodes) == [
        "sao-paulo-2",
        "sao-paulo-2-2",
        "node",
        "none",
        "null",
        "7",
        "x" * 32,
        "x" * 30 + "-2",
    ]


def test_parallel_links_become_one_and_what_is_apart_is_left_out_and_said(tmp_path: Path) -> None:
    path = _graphml(tmp_path, ["a", "b", "c", "far"], [(0, 1, 1e9), (1, 0, 5e8), (1, 2, None), (2, 2, 1e9)])
    draft = _imported(path)
    assert draft.nodes == ["a", "b", "c"]
    assert [(link.a, link.b, link.up.bandwidth) for link in draft.links] == [("a", "b", 1.5e9), ("b", "c", None)]
    assert "Left out: 1 node not connected" in draft.comment
    assert "1 link merged with parallel ones" in draft.comment
    assert "The bandwidth of 1 link is not known" in draft.comment


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.yaml"], "there is no such file"),
        (["net.dot"], "is neither a topology file (must hold keys and values"),
        (
            ["net.json"],
            "has no `nodes`, so it is no topology file, and it is no graph in GraphML",
        ),
        (["cut.gml"], "is not GML: "),
        (["none.graphml"], "there is no such file"),
        (["bad.graphml"], "is not GraphML"),
        (["foreign.graphml"], "is not GraphML: unknown encoding: utf-0"),
        (["empty.graphml"], "has no nodes"),
        (["geometric:nodes=1"], "nodes: `1` is wrong: input should be greater than or equal to 2"),
        (["geometric:node=5"], "node: there is no such key here; did you mean `nodes`?"),
        (["geometric:5"], "'5' must read KEY=VALUE, like nodes=20"),
        (["geometric:nodes=3", "--node", "cpu=1"], "--node: 'cpu=1' must read KEY=VALUE, like cpus=0.2"),
        (["geometric:nodes=3", "--node", "cpus=much"], "cpus: `much` is wrong"),
        ([str(READY_MADE[0]), "--yaml", "x.yaml"], "is a topology file already"),
        ([str(READY_MADE[0]), "--svg", "nowhere/x.svg"], "--svg: nowhere/x.svg cannot be written"),
    ],
)
def test_what_cannot_be_drawn_gets_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.dot").write_text("digraph { a -> b }")
    Path("net.json").write_text('{"graph": {}}')
    Path("cut.gml").write_text("graph [ node [ id 0 ")
    Path("bad.graphml").write_text("<graphml>")
    Path("foreign.graphml").write_text('<?xml version="1.0" encoding="utf-0"?><graphml/>')
    Path("empty.graphml").write_text(GRAPHML.format(""))
    with pytest.raises(SpecError) as refusal:
        _topology(*arguments)
    assert sentence in str(refusal.value)


def test_the_terminal_shows_every_link_with_its_numbers_each_way_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, output = _topology(str(PROJECT / "topologies" / "factory.yaml"))
    assert code == 0
    assert max(map(len, output.splitlines())) <= 80
    words = [" ".join(line.split()) for line in output.splitlines()]
    assert "factory: 7 nodes, 3 switches, 9 links" in words
    assert "cart ↔ floor 50 mbit 2 ms ± 1 ms 0.1 %" in words
    assert "hills → wan 3 mbit 340 ms" in words
    assert "wan → hills 19 mbit 340 ms" in words


def test_json_holds_links_and_routes() -> None:
    _, output = _topology(str(PROJECT / "topologies" / "ring.yaml"), "--json")
    ring = json.loads(output)
    assert ring["links"][0]["name"] == "a-b"
    assert ring["links"][0]["up"]["bandwidth"] == 20e6
    assert ring["routes"]["a"]["c"] == ["a-b", "b-c"]


@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_a_picture_shows_everything_and_nothing_on_top_of_something_else(path: Path) -> None:
    topology = Document.load(path).parse(Topology)
    picture = ElementTree.fromstring(draw(topology))
    written = [text.text for text in picture.iter(f"{SVG}text")]
    assert {*topology.nodes, *topology.switches} <= set(written)
    assert len(list(picture.iter(f"{SVG}line"))) == len(topology.links)
    ends = [
        tuple(float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        for box in picture.iter(f"{SVG}rect")
        if box.attrib["class"] in ("device", "switch")
    ]
    for index, (x, y, width, height) in enumerate(ends):
        for other_x, other_y, other_width, other_height in ends[:index]:
            apart = x + width < other_x or other_x + other_width < x or y + height < other_y
            assert apart or other_y + other_height < y


def test_a_picture_is_the_same_every_time() -> None:
    topology = Document.load(READY_MADE[0]).parse(Topology)
    assert draw(topology) == draw(topology)
