"""Random topologies from recipes like ``geometric:nodes=20,radius=0.3,seed=7``."""

import math
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

import networkx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from testbed.core.errors import SpecError
from testbed.core.units import Bandwidth, Duration
from testbed.schema.reading.explain import explain
from testbed.topologies.draft import Draft, DraftLink

Place = tuple[float, float]
Pair = tuple[str, str]

_MOST: Final = 10_000  # nodes; a simulation has so many, and an emulation far fewer


class Recipe(BaseModel, ABC):
    """What the generators have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(20, ge=2, le=_MOST, description="number of devices")
    seed: int = Field(0, ge=0)
    delay: Duration = Field(0.02, description="delay in each direction")
    bandwidth: Bandwidth = Field(20e6, description="bandwidth of every link")

    @abstractmethod
    def draft(self) -> Draft:
        """The topology; equal options give equal topologies on every host."""

    @property
    def names(self) -> list[str]:
        """The names of the devices."""
        return [f"n{number}" for number in range(1, self.nodes + 1)]


class Geometric(Recipe):
    """A random geometric graph (E. N. Gilbert, 1961): devices at random places in a square, linked if they are near.

    Separate components are joined by the shortest possible links. A link's delay is ``delay`` times its length.
    """

    radius: float = Field(
        0.3, gt=0, le=2, description="largest distance of two linked devices; the side of the square is 1"
    )
    delay: Duration = Field(0.02, description="delay in each direction, over a distance of 1")

    def draft(self) -> Draft:
        """The topology; equal options give equal topologies on every host."""
        draw = random.Random(self.seed)
        places = {name: (draw.random(), draw.random()) for name in self.names}
        graph = networkx.Graph()
        graph.add_nodes_from(places)
        graph.add_edges_from(_near(places, self.radius))
        _join(graph, places)
        order = {name: number for number, name in enumerate(places)}
        pairs = sorted(
            (sorted(pair, key=order.__getitem__) for pair in graph.edges),
            key=lambda pair: (order[pair[0]], order[pair[1]]),
        )
        links = [DraftLink.even(a, b, self.bandwidth, self.delay * _distance(places, a, b)) for a, b in pairs]
        comment = (
            "A random geometric graph: devices scattered over a square, each linked with those near it, with delays "
            f"in proportion to the distance. Made by: testbed topology geometric:{_written(self)} --yaml FILE"
        )
        return Draft(f"geometric-{self.nodes}", comment, list(places), links)


class ScaleFree(Recipe):
    """A scale-free graph by preferential attachment (Barabási and Albert, Science 286, 1999).

    The devices come one after the other, and each links with ``links`` earlier ones, drawn in proportion to the links
    that those have already. So a few devices have very many.
    """

    links: int = Field(3, ge=1, description="links that each device makes when it comes")

    def draft(self) -> Draft:
        """The topology; equal options give equal topologies on every host."""
        draw, names = random.Random(self.seed), self.names
        ends = list(range(self.links))  # each device once for each of its links; at first, the first ones
        links: list[DraftLink] = []
        for number in range(self.links, self.nodes):
            chosen: set[int] = set()
            while len(chosen) < self.links:
                chosen.add(draw.choice(ends))
            links += [
                DraftLink.even(names[other], names[number], self.bandwidth, self.delay) for other in sorted(chosen)
            ]
            ends += [*chosen, *[number] * self.links]
        comment = (
            "A scale-free graph: each device links with earlier ones in proportion to their links, so that a few have "
            f"very many. Made by: testbed topology scale-free:{_written(self)} --yaml FILE"
        )
        return Draft(f"scale-free-{self.nodes}", comment, names, links)

    @model_validator(mode="after")
    def _check(self) -> "ScaleFree":
        if self.links >= self.nodes:
            raise ValueError(f"`links` must be below `nodes`, which is {self.nodes}")
        return self


def _written(recipe: Recipe) -> str:
    """The options as a recipe has them: the number of devices first, then what is the generator's own."""
    options = recipe.model_dump(mode="json")
    own = [name for name in options if name not in Recipe.model_fields]
    ordered = ["nodes", *own, *(name for name in Recipe.model_fields if name != "nodes")]
    return ",".join(f"{name}={options[name]}" for name in ordered)


def _distance(places: dict[str, Place], a: str, b: str) -> float:
    return math.dist(places[a], places[b])


def _near(places: dict[str, Place], radius: float) -> Iterator[Pair]:
    """The pairs within ``radius``. Only devices in the same or in adjacent cells of that size are compared."""
    cells: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    for name, (x, y) in places.items():
        column, row = int(x / radius), int(y / radius)
        for across, down in product((-1, 0, 1), repeat=2):
            for other in cells.get((column + across, row + down), ()):
                if _distance(places, other, name) <= radius:
                    yield other, name
        cells[column, row].append(name)


def _join(graph: Any, places: dict[str, Place]) -> None:
    """Join the components of the graph by the shortest links: each time the smallest one with what is nearest to it."""
    while len(parts := sorted(networkx.connected_components(graph), key=len)) > 1:
        inside = parts[0]
        pairs = ((a, b) for a in sorted(inside) for b in places if b not in inside)
        graph.add_edge(*min(pairs, key=lambda pair: _distance(places, *pair)))


GENERATORS: Final[Mapping[str, type[Recipe]]] = {"geometric": Geometric, "scale-free": ScaleFree}
"""The generators, by the name at the beginning of recipes."""


def is_recipe(source: str) -> bool:
    """Whether ``source`` is a recipe rather than a file."""
    return source.partition(":")[0] in GENERATORS


def generate(recipe: str) -> Draft:
    """The topology of a recipe; raises SpecError."""
    kind, _, written = recipe.partition(":")
    values = {}
    for part in written.split(",") if written else []:
        key, equals, value = part.partition("=")
        if not equals:
            raise SpecError.of(recipe, f"{part!r} must read KEY=VALUE, like nodes=20")
        values[key.strip()] = value.strip()
    generator = GENERATORS[kind]
    try:
        return generator.model_validate(values).draft()
    except ValidationError as error:
        mistakes = [mistake for detail in error.errors() for mistake in explain(detail, generator)]
        sentences = [": ".join([*map(str, loc[-1:]), sentence]) for loc, sentence in mistakes]
        raise SpecError.of(recipe, "; ".join(sentences)) from None
