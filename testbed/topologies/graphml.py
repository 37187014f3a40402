"""Topologies from GraphML files, in particular those of the Internet Topology Zoo.

S. Knight, H. X. Nguyen, N. Falkner, R. Bowden and M. Roughan, The Internet Topology Zoo, IEEE JSAC 29(9), 2011.
Read are the `label`, `Latitude` and `Longitude` (degrees) of nodes and the `LinkSpeedRaw` (bit/s) of edges.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import networkx

from testbed.core.errors import SpecError
from testbed.topologies.draft import Draft, DraftLink

_EARTH_RADIUS: Final = 6_371_008.8  # metres, the mean radius (Moritz, Geodetic Reference System 1980)
_LIGHT_IN_GLASS: Final = 299_792_458 * 2 / 3  # metres per second; a fibre's index of refraction is about 1.5
_LONGEST_NAME: Final = 32


def read_graphml(path: Path) -> Draft:
    """The nodes and links of the largest connected component in a file; raises SpecError.

    A link's delay is the time of light in a fibre along the great circle between its ends. Parallel links become one
    link with the sum of their bandwidths.
    """
    graph = _read(path)
    part = max(networkx.connected_components(graph), key=len)
    names = _names({node: graph.nodes[node].get("label", node) for node in graph if node in part})
    bandwidths: dict[frozenset[Any], list[float]] = {}
    for a, b, edge in graph.edges(data=True):
        if a in part and a != b:
            bandwidths.setdefault(frozenset((a, b)), []).append(_number(edge, "LinkSpeedRaw"))
    links = [
        DraftLink(names[a], names[b], _total(speeds), _delay(graph.nodes[a], graph.nodes[b]))
        for (a, b), speeds in ((sorted(pair, key=list(names).index), speeds) for pair, speeds in bandwidths.items())
    ]
    return Draft(path.stem, _comment(path, graph, names, links), list(names.values()), links)


def _read(path: Path) -> Any:
    try:
        graph = networkx.read_graphml(path)
    except FileNotFoundError:
        raise SpecError.of(path, "there is no such file") from None
    except (OSError, ParseError, networkx.NetworkXException, ValueError, LookupError) as error:
        raise SpecError.of(path, f"is not GraphML: {error}") from None
    if not graph:
        raise SpecError.of(path, "has no nodes")
    return graph.to_undirected()


def _comment(path: Path, graph: Any, names: Mapping[Any, str], links: list[DraftLink]) -> str:
    parts = [f"Imported from {path.name}."]
    if left := len(graph) - len(names):
        parts.append(f"Left out: {_count(left, 'node', 'nodes')} not connected with these.")
    if unplaced := sum(link.delay == 0 for link in links):
        parts.append(f"The delay of {_count(unplaced, 'link', 'links')} is 0, as no place is known for an end.")
    if unlimited := sum(link.bandwidth is None for link in links):
        parts.append(f"The bandwidth of {_count(unlimited, 'link', 'links')} is not known: as fast as the host.")
    return " ".join(parts)


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _names(labels: Mapping[Any, object]) -> dict[Any, str]:
    """A unique name for every node, valid in a topology file."""
    names: dict[Any, str] = {}
    for node, label in labels.items():
        plain = _plain(str(label)) or "node"
        taken = set(names.values())
        candidates = (plain, *(_numbered(plain, number) for number in range(2, len(labels) + 2)))
        names[node] = next(name for name in candidates if name not in taken)
    return names


def _plain(label: str) -> str:
    """``label`` in lower-case letters, digits and inner hyphens, without accents."""
    letters = unicodedata.normalize("NFKD", label.lower().replace("ø", "o").replace("ß", "ss").replace("ł", "l"))
    ascii_only = letters.encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", ascii_only).strip("-")[:_LONGEST_NAME].rstrip("-")


def _numbered(name: str, number: int) -> str:
    suffix = f"-{number}"
    return name[: _LONGEST_NAME - len(suffix)].rstrip("-") + suffix


def _delay(a: Mapping[str, object], b: Mapping[str, object]) -> float:
    """Seconds of light in a fibre between two places; 0 if a coordinate is missing."""
    places = [_number(end, key) for end in (a, b) for key in ("Latitude", "Longitude")]
    if any(map(math.isnan, places)):
        return 0.0
    return great_circle(*places) / _LIGHT_IN_GLASS


def great_circle(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """The distance in metres of two places, given in degrees, on a spherical Earth (haversine formula)."""
    phi_a, phi_b, lambda_a, lambda_b = map(math.radians, (latitude_a, latitude_b, longitude_a, longitude_b))
    chord = (
        math.sin((phi_b - phi_a) / 2) ** 2
        + math.cos(phi_a) * math.cos(phi_b) * math.sin((lambda_b - lambda_a) / 2) ** 2
    )
    return 2 * _EARTH_RADIUS * math.asin(math.sqrt(chord))


def _total(speeds: Iterable[float]) -> float | None:
    """The total bandwidth of parallel links in bit/s; None if one is unknown."""
    total = sum(speeds)
    return total if math.isfinite(total) and total > 0 else None


def _number(attributes: Mapping[str, object], key: str) -> float:
    """The attribute ``key`` as a number; NaN if it is missing or not a number."""
    try:
        return float(str(attributes[key]))
    except (KeyError, ValueError):
        return math.nan
