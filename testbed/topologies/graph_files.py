"""Graphs in files of three formats: GraphML, GML and node-link JSON. A file's content says which it has."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import networkx

from testbed.core.errors import SpecError

FORMATS: Final = "GraphML, GML and node-link JSON"

_GML_START: Final = re.compile(r"(?:\s|#.*\n|(?:Creator|Version|comment)\b.*\n)*graph\s*\[")
_REFUSALS: Final = (ParseError, networkx.NetworkXException, ValueError, LookupError, TypeError, AttributeError)


def read_graph(path: Path) -> Any:
    """The graph in a file, as a MultiGraph or MultiDiGraph with at least one node; None if its format is another.

    Raises SpecError if the file cannot be read as what it seems to be.
    """
    reader, name = _reader(_content(path))
    if reader is None:
        return None
    try:
        graph = reader(path)
    except RecursionError:
        raise SpecError.of(path, f"is not {name}: it is nested too deeply") from None
    except _REFUSALS as error:
        raise SpecError.of(path, f"is not {name}: {error}") from None
    if not graph:
        raise SpecError.of(path, "has no nodes")
    return networkx.MultiDiGraph(graph) if graph.is_directed() else networkx.MultiGraph(graph)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SpecError.of(path, "there is no such file") from None
    except OSError as error:
        raise SpecError.of(path, f"cannot be read: {error.strerror}") from None


def _reader(content: bytes) -> tuple[Callable[[Path], Any] | None, str]:
    """What reads a file with this content, and the format's name."""
    text = content.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("<") or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _read_graphml, "GraphML"
    if text.startswith("{") and _is_node_link(text):
        return _read_node_link, "node-link JSON"
    return (_read_gml, "GML") if _GML_START.match(text) else (None, "")


def _read_graphml(path: Path) -> Any:
    return networkx.read_graphml(path, force_multigraph=True)


def _read_gml(path: Path) -> Any:
    text = path.read_text(encoding="utf-8-sig")
    if not re.search(r"^\s*multigraph\s+1", text, re.MULTILINE):  # without it, networkx refuses parallel edges
        text = re.sub(r"graph\s*\[", "graph [\n  multigraph 1\n", text, count=1)
    return networkx.parse_gml(text, label=None)


def _is_node_link(text: str) -> bool:
    """Whether a text in JSON, which may also be a topology file, lists nodes."""
    try:
        return isinstance(json.loads(text).get("nodes"), list)
    except (ValueError, RecursionError):
        return False


def _read_node_link(path: Path) -> Any:
    data = json.loads(path.read_text(encoding="utf-8-sig"))
    edges = "edges" if "edges" in data else "links"
    # Where `multigraph` is false, networkx keeps the last of several edges alone.
    return networkx.node_link_graph({**data, "multigraph": True}, edges=edges)
