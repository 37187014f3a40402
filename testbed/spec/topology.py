"""The topology file: devices, switches and links; no behaviour."""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator, model_validator

from testbed.spec.explain import Mistake, MistakesError
from testbed.spec.link import Link
from testbed.spec.model import Spec, matching
from testbed.spec.routing import Paths
from testbed.spec.shape import TwoWayShape, direction
from testbed.units import Size

# Node names become hostnames; a switch's ports are called `s1-eth42`, and Linux ends an interface's name at 15 bytes
# and keeps three names for itself.
NodeName = Annotated[
    str, *matching("[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", "at most 32 small letters, digits and inner hyphens")
]
SwitchName = Annotated[
    str,
    *matching("(?!(lo|all|default)$)[a-z][a-z0-9]{0,7}", "a letter and at most seven more or digits, like s1"),
]
ModelName = Annotated[str, *matching("(zoo/|path:|hf:).+", "zoo/NAME, path:FILE.gguf or hf:OWNER/REPO/FILE.gguf")]

_MOST_PORTS = 999  # of a switch: the names of more would be too long; a Linux bridge takes 1,023 (BR_PORT_BITS)


class Node(Spec):
    """A device and the model it holds."""

    model: ModelName = Field(description="zoo/NAME, path:FILE.gguf or hf:OWNER/REPO/FILE.gguf")
    cpus: float = Field(ge=0.01, allow_inf_nan=False, description="share of the host's cores, like 0.5")
    memory: Size = Field(description="cap on all that the node's processes use; there is no swap")
    context: int = Field(512, ge=64, description="tokens that the model can attend to")

    @field_validator("model")
    @classmethod
    def _anchor(cls, model: str, info: ValidationInfo) -> str:
        """A model's file is looked for from the directory of the file that names it."""
        if not model.startswith("path:") or not info.context:
            return model
        directory = info.context.get("topology", info.context[""])
        return f"path:{(directory / Path(model.removeprefix('path:')).expanduser()).absolute()}"


class LinkEntry(TwoWayShape):
    """A link in the file."""

    endpoints: list[str] = Field(min_length=2, max_length=2)


class Defaults(Spec):
    """What holds wherever nothing else is said."""

    link: TwoWayShape = TwoWayShape()


class Topology(Spec):
    """A topology file."""

    name: str = Field(min_length=1)
    defaults: Defaults = Defaults()
    nodes: dict[NodeName, Node] = Field(min_length=1)
    switches: list[SwitchName] = Field(default_factory=list)
    links: list[LinkEntry] = Field(default_factory=list)

    @cached_property
    def resolved_links(self) -> tuple[Link, ...]:
        """The links, each with a full shape for both directions."""
        return tuple(
            Link(a, b, up=direction("up", around, entry), down=direction("down", around, entry))
            for around in [self.defaults.link]
            for entry in self.links
            for a, b in [entry.endpoints]
        )

    @cached_property
    def paths(self) -> Paths:
        """The shortest paths between nodes and switches, over nodes and switches."""
        return Paths(self.resolved_links)

    def route(self, source: str, target: str) -> list[Link]:
        """The links that packets from one node to another take, in their order; the way back is the same."""
        return self.paths.path(source, target)

    def neighbours(self, node: str) -> list[str]:
        """The nodes that ``node`` can reach, in the order of the file."""
        reached = self.paths.reachable(node)
        return [other for other in self.nodes if other in reached and other != node]

    @model_validator(mode="after")
    def _check(self) -> "Topology":
        """Find what single values cannot show."""
        found = [
            *self._name_mistakes(),
            *self._endpoint_mistakes(),
            *self._repetitions(),
            *self._property_mistakes(),
            *self._loops(),
        ]
        if found:
            raise MistakesError(found)
        if islands := list(self._islands()):  # which nothing above was the reason of
            raise MistakesError(islands)
        return self

    def _name_mistakes(self) -> Iterator[Mistake]:
        for name, times in Counter([*self.nodes, *self.switches]).items():
            if times > 1:
                yield ("switches",), f"the name {name!r} is taken twice; nodes and switches need names of their own"

    def _endpoint_mistakes(self) -> Iterator[Mistake]:
        ports: Counter[str] = Counter()
        for index, link in enumerate(self.links):
            for end, name in enumerate(link.endpoints):
                if name not in self.nodes and name not in self.switches:
                    known = ", ".join([*self.nodes, *self.switches])
                    yield ("links", index, "endpoints", end), f"there is no {name!r} to link to; known are {known}"
            if len(set(link.endpoints)) == 1 and link.endpoints[0] in self.nodes:
                yield ("links", index, "endpoints"), f"links {link.endpoints[0]!r} to itself; name two different ends"
            ports.update(link.endpoints)
        for index, name in enumerate(self.switches):
            if ports[name] > _MOST_PORTS:
                yield ("switches", index), f"{name!r} has {ports[name]} links; a switch can have {_MOST_PORTS}"

    def _repetitions(self) -> Iterator[Mistake]:
        """Links that the same two ends have already (between switches, those are loops), or whose name is taken."""
        ends: dict[frozenset[str], int] = {}
        names: dict[str, int] = {}
        for index, link in enumerate(self.links):
            pair, name = frozenset(link.endpoints), "-".join(link.endpoints)
            first = ends.setdefault(pair, index)
            if first != index and not pair <= set(self.switches):
                yield ("links", index), f"links the same two ends as links[{first}]; leave one of the two out"
            namesake = names.setdefault(name, index)
            if namesake not in (index, first):
                yield ("links", index), f"would be called {name!r}, as links[{namesake}] is; swap the ends of one"

    def _islands(self) -> Iterator[Mistake]:
        mainland, *others = self.nodes
        reached = self.paths.reachable(mainland)
        for name in others:
            if name not in reached:
                yield ("nodes", name), f"cannot be reached from {mainland!r}; a link between the two sides is missing"
                reached |= self.paths.reachable(name)

    def _property_mistakes(self) -> Iterator[Mistake]:
        for index, link in enumerate(self.links):
            try:
                direction("up", self.defaults.link, link), direction("down", self.defaults.link, link)
            except ValueError as error:
                yield ("links", index), str(error)

    def _loops(self) -> Iterator[Mistake]:
        """Bridges without a spanning tree forward a broadcast for ever round a loop."""
        root = {name: name for name in self.switches}
        for index, link in enumerate(self.links):
            if not set(link.endpoints) <= set(self.switches):
                continue
            first, second = (root[end] for end in link.endpoints)
            if first == second:
                yield ("links", index), "closes a loop of switches; leave one of its links out"
            root = {name: first if group == second else group for name, group in root.items()}
