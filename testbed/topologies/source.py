"""Where a topology that is looked at comes from: a file of ours, a GraphML file, or a recipe."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from testbed.core.errors import SpecError
from testbed.schema.document import Document
from testbed.schema.network.topology import Topology
from testbed.topologies.draft import Draft, read_device
from testbed.topologies.generate import generate, is_recipe
from testbed.topologies.graphml import read_graphml


def load(source: str, node: str, yaml: Path | None) -> Topology:
    """The topology that ``source`` is or makes, which in the second case is written to ``yaml``; raises SpecError.

    ``node`` says what each node of a topology that is made is, like ``model=zoo/alpha,cpus=0.2``.
    """
    draft = _draft(source)
    if draft is None:
        for option, value in {"--node": node, "--yaml": yaml}.items():
            if value:
                raise SpecError.of(option, f"{source} is a topology file already; edit it")
        return Document.load(Path(source)).parse(Topology)
    text = draft.yaml(read_device(node))
    topology = Document(Path(source), YAML(typ="rt").load(text)).parse(Topology)
    if yaml is not None:
        write("--yaml", yaml, text)
    return topology


def _draft(source: str) -> Draft | None:
    if is_recipe(source):
        return generate(source)
    return read_graphml(Path(source)) if source.endswith(".graphml") else None


def write(option: str, path: Path, text: str) -> None:
    """Write a file that ``option`` names; raises SpecError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError.of(option, f"{path} cannot be written: {error.strerror}") from None


def as_dict(topology: Topology) -> dict[str, Any]:
    """Nodes, switches, links with everything said (seconds, bit/s, bytes), and the links from each node to each."""
    return {
        "name": topology.name,
        "nodes": {name: node.model_dump() for name, node in topology.nodes.items()},
        "switches": topology.switches,
        "links": [{"name": link.name, **asdict(link)} for link in topology.resolved_links],
        "routes": {
            source: {
                target: [link.name for link in topology.route(source, target)] for target in topology.neighbours(source)
            }
            for source in topology.nodes
        },
    }
