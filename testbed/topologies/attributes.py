"""The attributes of graphs in files, under the names that their makers use, as properties of links.

Written with its unit, as ``10ms`` is, a value needs no convention. Without one, a number is in the unit of the tools
that write such files: Shadow (``latency`` and ``jitter`` in ms, ``packetloss`` a share, ``bandwidthup`` and
``bandwidthdown`` in KiB/s), the Internet Topology Zoo (``LinkSpeedRaw`` in bit/s) and TopoHub (``dist`` in km).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from testbed.core.units import DELAY, LINK_BANDWIDTH, SHARE, Quantity

_EARTH_RADIUS: Final = 6_371_008.8  # metres, the mean radius (Moritz, Geodetic Reference System 1980)
_LIGHT_IN_GLASS: Final = 299_792_458 * 2 / 3  # metres per second; a fibre's index of refraction is about 1.5

Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Meaning:
    """What an attribute means: the quantity of texts with a unit, and the factor and unit of plain numbers.

    Names are in small letters alone. Without a ``factor``, plain numbers are not read.
    """

    names: frozenset[str]
    quantity: Quantity
    factor: float | None = None
    unit: str = ""

    def value(self, owner: Attributes) -> float | None:
        """The value in the unit used in the code; None if ``owner`` has none that can be read."""
        return next((value for name in self.of(owner) if (value := self._read(owner[name])) is not None), None)

    def of(self, owner: Attributes) -> list[str]:
        """The names of this attribute in ``owner``."""
        return [name for name in owner if _small(name) in self.names]

    def _read(self, written: Any) -> float | None:
        try:
            value = self.quantity.parse(written) if isinstance(written, str) else math.nan
        except ValueError:
            value = math.nan
        if math.isnan(value):
            value = _number(written) * (math.nan if self.factor is None else self.factor)
        return value if self.quantity.least <= value <= self.quantity.most and value < math.inf else None


def _meaning(names: str, quantity: Quantity, factor: float | None = None, unit: str = "") -> Meaning:
    return Meaning(frozenset(names.split()), quantity, factor, unit)


DELAYS: Final = _meaning("delay latency", DELAY, 1e-3, "ms")
JITTERS: Final = _meaning("jitter", DELAY, 1e-3, "ms")
LOSSES: Final = _meaning("packetloss loss lossrate", SHARE, 1.0, "a share")
SPEEDS: Final = _meaning("linkspeedraw", LINK_BANDWIDTH, 1.0, "bit/s")
BANDWIDTHS: Final = _meaning("bandwidth capacity", LINK_BANDWIDTH)
LENGTHS: Final = _meaning("dist distance", DELAY, 1e3 / _LIGHT_IN_GLASS, "km of fibre")
UP: Final = _meaning("bandwidthup", LINK_BANDWIDTH, 8 * 1024, "KiB/s")
DOWN: Final = _meaning("bandwidthdown", LINK_BANDWIDTH, 8 * 1024, "KiB/s")

_OF_EDGES: Final = (DELAYS, JITTERS, LOSSES, SPEEDS, BANDWIDTHS, LENGTHS)
_OF_NODES: Final = (UP, DOWN)
_LATITUDES: Final = {"latitude", "lat"}
_LONGITUDES: Final = {"longitude", "lon", "long", "lng"}
_NAMES: Final = {"id", "key", "label", "name", "source", "target"}


def label(node: Attributes) -> Any:
    """What the file calls a node; None if it has no name but its key."""
    return next((node[name] for wanted in ("label", "name") for name in node if _small(name) == wanted), None)


def place(node: Attributes) -> tuple[float, float] | None:
    """Latitude and longitude of a node in degrees; None if the file lacks one. ``pos`` has the longitude first."""
    found = [
        next((_number(value) for name, value in node.items() if _small(name) in names), math.nan)
        for names in (_LATITUDES, _LONGITUDES)
    ]
    match node.get("pos"):
        case [longitude, latitude]:
            found = [_number(latitude), _number(longitude)]
    latitude, longitude = found
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 360 else None


def flight_time(a: Attributes, b: Attributes) -> float | None:
    """Seconds of light in a fibre between two nodes along the great circle; None if a place is not known."""
    ends = place(a), place(b)
    return None if None in ends else great_circle(*ends[0], *ends[1]) / _LIGHT_IN_GLASS  # type: ignore[misc]


def great_circle(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """The distance in metres of two places, given in degrees, on a spherical Earth (haversine formula)."""
    phi_a, phi_b, lambda_a, lambda_b = map(math.radians, (latitude_a, latitude_b, longitude_a, longitude_b))
    chord = (
        math.sin((phi_b - phi_a) / 2) ** 2
        + math.cos(phi_a) * math.cos(phi_b) * math.sin((lambda_b - lambda_a) / 2) ** 2
    )
    return 2 * _EARTH_RADIUS * math.asin(math.sqrt(chord))


def accounted(nodes: Iterable[Attributes], edges: Iterable[Attributes]) -> list[str]:
    """Sentences on which attributes were read, in which unit, and which were not."""
    nodes, edges = list(nodes), list(edges)
    expected = _NAMES | _LATITUDES | _LONGITUDES | {"pos"}
    names = dict.fromkeys(name for owner in (*edges, *nodes) for name in owner if _small(name) not in expected)
    units: dict[str, str] = {}
    unread: set[str] = set()
    for meaning, owner in [*product(_OF_EDGES, edges), *product(_OF_NODES, nodes)]:
        known = meaning.value(owner) is not None
        for name in meaning.of(owner):
            names[name] = None
            units |= {name: meaning.unit} if known else {}
            unread |= set() if known else {name}
    read = [f"`{name}` as {unit}" if unit else f"`{name}`" for name, unit in sorted(units.items())]
    whole = [f"`{name}`" for name in names if name not in units]
    left = [*whole, *(f"some values of `{name}`" for name in names if name in units and name in unread)]
    return [f"{verb}: {', '.join(found)}." for verb, found in (("Read", read), ("Not used", left)) if found]


def _small(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def _number(written: Any) -> float:
    """NaN for what is not a number."""
    try:
        return math.nan if isinstance(written, bool) else float(written)
    except (TypeError, ValueError, OverflowError):
        return math.nan
