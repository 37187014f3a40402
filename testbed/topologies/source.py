"""Reads a topology from a topology file, a graph of another project, or a recipe."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from testbed.core.errors import SpecError
from testbed.schema.network.topology import Topology
from testbed.schema.reading.document import Document
from testbed.topologies.draft import Draft, read_device
from testbed.topologies.generate import generate, is_recipe
from testbed.topologies.graph_files import FORMATS
from testbed.topologies.imported import read_import


def load(source: str, node: str, yaml: Path | None) -> Topology:
    """The topology of ``source``; raises SpecError.

    Only an imported or generated topology takes ``node``, keys of each node like ``model=zoo/alpha,cpus=0.2``, and is
    written to ``yaml``.
    """
    draft = _draft(source)
    if draft is None:
        for option, value in {"--node": node, "--yaml": yaml}.items():
            if value:
                raise SpecError.of(option, f"{source} is a topology file already; edit it")
        return _topology_file(Path(source)).parse(Topology)
    text = draft.yaml(read_device(node))
    topology = Document(Path(source), YAML(typ="rt").load(text)).parse(Topology)
    if yaml is not None:
        write("--yaml", yaml, text)
    return topology


def _draft(source: str) -> Draft | None:
    if is_recipe(source):
        return generate(source)
    return read_import(Path(source))


def _topology_file(path: Path) -> Document:
    try:
        document = Document.load(path)
    except SpecError as error:
        reason = error.problems[0].message
        raise SpecError.of(path, f"is neither a topology file ({reason}) nor a graph in {FORMATS}") from None
    if "nodes" not in document.data:
        raise SpecError.of(path, f"has no `nodes`, so it is no topology file, and it is no graph in {FORMATS}")
    return document


def write(option: str, path: Path, text: str) -> None:
    """Write the file given with ``option``; raises SpecError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError.of(option, f"{path} cannot be written: {error.strerror}") from None


def as_dict(topology: Topology) -> dict[str, Any]:
    """For JSON: nodes, switches, links with all properties (seconds, bit/s, bytes), and routes as names of links."""
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
