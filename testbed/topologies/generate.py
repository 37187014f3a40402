"""Random topologies from recipes like ``geometric:nodes=20,radius=0.3,seed=7``."""

import math
import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import networkx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from testbed.core.errors import SpecError
from testbed.core.units import Bandwidth, Duration
from testbed.schema.reading.explain import explain
from testbed.topologies.draft import Draft, DraftLink

Place = tuple[float, float]


class Geometric(BaseModel):
    """A random geometric graph (E. N. Gilbert, 1961): devices at random places in a square, linked if they are near.

    Separate components are joined by the shortest possible links. A link's delay is ``delay`` times its length.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(20, ge=2, le=1000, description="number of devices")
    radius: float = Field(
        0.3, gt=0, le=2, description="largest distance of two linked devices; the side of the square is 1"
    )
    seed: int = Field(0, ge=0)
    delay: Duration = Field(0.02, description="delay in each direction, over a distance of 1")
    bandwidth: Bandwidth = Field(20e6, description="bandwidth of every link")

    def draft(self) -> Draft:
        """The topology; equal options give equal topologies on every host."""
        draw = random.Random(self.seed)
        places = {f"n{number}": (draw.random(), draw.random()) for number in range(1, self.nodes + 1)}
        graph = networkx.Graph()
        graph.add_nodes_from(places)
        graph.add_edges_from(pair for pair in combinations(places, 2) if _distance(places, *pair) <= self.radius)
        graph.add_edges_from(_bridges(graph, places))
        links = [
            DraftLink(a, b, self.bandwidth, self.delay * _distance(places, a, b))
            for a, b in combinations(places, 2)
            if graph.has_edge(a, b)
        ]
        recipe = ",".join(f"{key}={value}" for key, value in self.model_dump(mode="json").items())
        comment = (
            "A random geometric graph: devices scattered over a square, each linked with those near it, with delays "
            f"in proportion to the distance. Made by: testbed topology geometric:{recipe} --yaml FILE"
        )
        return Draft(f"geometric-{self.nodes}", comment, list(places), links)


def _distance(places: dict[str, Place], a: str, b: str) -> float:
    return math.dist(places[a], places[b])


def _bridges(graph: Any, places: dict[str, Place]) -> Iterator[tuple[str, str]]:
    """The shortest links that join the components of the graph."""
    part = {node: number for number, nodes in enumerate(networkx.connected_components(graph)) for node in nodes}
    for a, b in sorted(combinations(places, 2), key=lambda pair: _distance(places, *pair)):
        if part[a] != part[b]:
            yield a, b
            gone = part[b]
            part = {node: part[a] if number == gone else number for node, number in part.items()}


GENERATORS = {"geometric": Geometric}
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
        raise SpecError.of(recipe, "; ".join(f"{loc[-1]}: {sentence}" for loc, sentence in mistakes)) from None
