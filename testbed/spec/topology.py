"""The topology file: devices, switches and links; no behaviour."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from testbed.spec.explain import Loc
from testbed.spec.units import Bandwidth, Duration, Size

# Node names become hostnames; a switch's ports are called `s1-eth42`, and Linux ends an interface's name at 15 bytes.
NodeName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
SwitchName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,7}$")]


class Spec(BaseModel):
    """A part of a file: it takes the keys that it knows, and cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Node(Spec):
    """A device and the model it holds."""

    model: str = Field(description="zoo/NAME, path:FILE.gguf or hf:REPO/FILE.gguf", pattern=r"^(zoo/|path:|hf:).+$")
    cpus: float = Field(ge=0.01, description="share of the host's cores, like 0.5")
    memory: Size = Field(description="cap on all that the node's processes use; there is no swap")
    context: int = Field(512, ge=64, description="tokens that the model can attend to")


class Shape(Spec):
    """What a link is asked to be. What is not said here is taken from around it."""

    bandwidth: Bandwidth | None = None
    delay: Duration | None = None


class LinkEntry(Shape):
    """A link in the file: a shape for both directions, refined by ``up`` and ``down``.

    ``up`` is from the first endpoint to the second.
    """

    endpoints: list[str] = Field(min_length=2, max_length=2)
    up: Shape = Shape()
    down: Shape = Shape()


class Defaults(Spec):
    """What holds wherever nothing else is said."""

    link: Shape = Shape()


@dataclass(frozen=True)
class Direction:
    """One direction of a link: ``bandwidth`` in bit/s (None: as fast as the host), one-way ``delay`` in seconds."""

    bandwidth: float | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Link:
    """A link with everything said; ``up`` is from ``a`` to ``b``."""

    a: str
    b: str
    up: Direction
    down: Direction

    @property
    def name(self) -> str:
        """``a-s1``"""
        return f"{self.a}-{self.b}"


class Topology(Spec):
    """A topology file. :meth:`mistakes` finds what single values cannot show."""

    name: str = Field(min_length=1)
    defaults: Defaults = Defaults()
    nodes: dict[NodeName, Node] = Field(min_length=1)
    switches: list[SwitchName] = []
    links: list[LinkEntry] = []

    @cached_property
    def resolved_links(self) -> tuple[Link, ...]:
        """The links, each with a full shape for both directions."""
        return tuple(
            Link(a, b, up=self._direction(entry.up, entry), down=self._direction(entry.down, entry))
            for entry in self.links
            for a, b in [entry.endpoints]
        )

    def _direction(self, direction: Shape, link: Shape) -> Direction:
        said: dict[str, float] = {}
        for shape in (self.defaults.link, link, direction):  # from the most general to the most specific
            said |= {key: value for key in Shape.model_fields if (value := getattr(shape, key)) is not None}
        return Direction(**said)

    def route(self, source: str, target: str) -> list[tuple[Link, bool]]:
        """The links from one node to another, each with whether it is crossed upwards; empty if there is no way."""
        return self._routes(source).get(target, [])

    def neighbours(self, node: str) -> list[str]:
        """The nodes that ``node`` can reach, in the order of the file."""
        reached = self._routes(node)
        return [other for other in self.nodes if other in reached and other != node]

    def _routes(self, source: str) -> dict[str, list[tuple[Link, bool]]]:
        routes: dict[str, list[tuple[Link, bool]]] = {source: []}
        frontier = [source]
        while frontier:
            here = frontier.pop(0)
            for link in self.resolved_links:
                there = {link.a: link.b, link.b: link.a}.get(here)
                if there is not None and there not in routes:
                    routes[there] = [*routes[here], (link, here == link.a)]
                    frontier += [there] if there in self.switches else []  # a node does not forward
        return routes

    def mistakes(self) -> Iterator[tuple[Loc, str]]:
        """What is wrong between the parts of the file, and where."""
        for name, times in Counter([*self.nodes, *self.switches]).items():
            if times > 1:
                yield ("switches",), f"the name {name!r} is taken twice; nodes and switches need names of their own"
        yield from self._endpoint_mistakes()
        yield from self._loops()

    def _endpoint_mistakes(self) -> Iterator[tuple[Loc, str]]:
        attached: Counter[str] = Counter()
        for index, link in enumerate(self.links):
            for end, name in enumerate(link.endpoints):
                if name not in self.nodes and name not in self.switches:
                    known = ", ".join([*self.nodes, *self.switches])
                    yield ("links", index, "endpoints", end), f"there is no {name!r} to link to; known are {known}"
            if not set(link.endpoints) & set(self.switches):
                yield ("links", index, "endpoints"), "one end must be a switch; put one between the two"
            attached.update(name for name in link.endpoints if name in self.nodes)
        for name in self.nodes:
            if attached[name] > 1 or (attached[name] == 0 and len(self.nodes) > 1):
                yield ("nodes", name), f"needs exactly one link to a switch, and has {attached[name]}"

    def _loops(self) -> Iterator[tuple[Loc, str]]:
        """Bridges without a spanning tree forward a broadcast for ever round a loop."""
        root = {name: name for name in self.switches}
        for index, link in enumerate(self.links):
            if not set(link.endpoints) <= set(self.switches):
                continue
            first, second = (root[end] for end in link.endpoints)
            if first == second:
                yield ("links", index), "closes a loop of switches; leave one of its links out"
            root = {name: first if group == second else group for name, group in root.items()}
