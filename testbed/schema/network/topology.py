"""The topology file: devices, switches and links."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator

from testbed.core.input_files import anchored, input_file
from testbed.core.spec import Spec, matching
from testbed.core.units import SIZE
from testbed.schema.kind_fields import OfKind
from testbed.schema.link_names import numbers
from testbed.schema.network.device import Profile, profiles
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.schema.network.link_table import LinkTable
from testbed.schema.network.node import DEFAULT_KIND, NODE_KINDS, AgentNode, Emulated, ModelNode, Node, NodeKind
from testbed.schema.network.routing import Paths
from testbed.schema.network.shape import TwoWayShape, resolve_direction, resolve_table
from testbed.schema.reading.explain import Mistake, MistakesError

# A node's name is a hostname. A port of a switch is an interface called `s1-eth42`: Linux limits such names to 15 bytes
# and reserves three.
NodeName = Annotated[
    str, *matching("[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", "at most 32 small letters, digits and inner hyphens")
]
SwitchName = Annotated[
    str,
    *matching("(?!(lo|all|default)$)[a-z][a-z0-9]{0,7}", "a letter and at most seven more or digits, like s1"),
]
_MOST_PORTS = 999  # of a switch, by the length of names; a Linux bridge has 1,023 (BR_PORT_BITS)


class LinkEntry(TwoWayShape):
    """A link in the file."""

    endpoints: list[str] = Field(min_length=2, max_length=2)


class Defaults(Spec):
    """Properties of all links that set no others."""

    link: TwoWayShape = TwoWayShape()


class Topology(Spec):
    """The content of a topology file."""

    name: str = Field(min_length=1)
    devices: Annotated[str, input_file("topology")] | None = Field(
        None, description="file of device profiles in addition to the built-in ones"
    )
    defaults: Defaults = Defaults()
    nodes: dict[NodeName, Annotated[Node, OfKind(NODE_KINDS, "kind", default=DEFAULT_KIND)]] = Field(min_length=1)
    switches: list[SwitchName] = Field(default_factory=list)
    links: list[LinkEntry] = Field(default_factory=list)

    @property
    def emulated(self) -> dict[str, Emulated]:
        """The nodes that have a share of this host's CPU and memory."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, Emulated)}

    @property
    def agents(self) -> dict[str, AgentNode]:
        """The nodes that run an agent."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, AgentNode)}

    @property
    def model_nodes(self) -> dict[str, ModelNode]:
        """The nodes whose models the testbed provides."""
        return {name: node for name, node in self.nodes.items() if isinstance(node, ModelNode)}

    @property
    def model_references(self) -> list[str]:
        """The models whose files the testbed provides, each once."""
        own = (node.model for node in self.model_nodes.values())
        given = (model for node in self.nodes.values() for model in node.given_models.values())
        return list(dict.fromkeys([*own, *given]))

    @cached_property
    def resolved_links(self) -> tuple[Link, ...]:
        """The links in the order of the file, each with all properties of both directions."""
        around, ends = self.defaults.link, [(a, b) for a, b in (entry.endpoints for entry in self.links)]
        return tuple(
            Link(a, b, resolve_direction("up", around, entry), resolve_direction("down", around, entry), number)
            for entry, (a, b), number in zip(self.links, ends, numbers(ends), strict=True)
        )

    @cached_property
    def tables(self) -> dict[str, dict[DirectionName, LinkTable]]:
        """By link and direction, the tables that their properties follow from the beginning of play."""
        tables: dict[str, dict[DirectionName, LinkTable]] = {}
        for entry, link in zip(self.links, self.resolved_links, strict=True):
            for direction in DIRECTIONS:
                if table := resolve_table(direction, self.defaults.link, entry):
                    tables.setdefault(link.name, {})[direction] = table
        return tables

    @cached_property
    def paths(self) -> Paths:
        """The shortest paths between nodes and switches; nodes forward packets as well."""
        return Paths(self.resolved_links)

    def route(self, source: str, target: str) -> list[Link]:
        """The links on the path of packets from ``source`` to ``target``, in order. Packets back take the same path."""
        return self.paths.path(source, target)

    def neighbours(self, node: str) -> list[str]:
        """The other nodes that ``node`` can reach, in the order of the file."""
        reached = self.paths.reachable(node)
        return [other for other in self.nodes if other in reached and other != node]

    def linked(self, node: str) -> list[str]:
        """The other nodes that ``node`` reaches without passing a third one, in the order of the file."""
        return self._linked[node]

    @cached_property
    def _linked(self) -> dict[str, list[str]]:
        around = dict[str, set[str]]()
        for entry in self.links:
            a, b = entry.endpoints
            around.setdefault(a, set()).add(b)
            around.setdefault(b, set()).add(a)
        switches, places = frozenset(self.switches), {name: place for place, name in enumerate(self.nodes)}
        linked = {}
        for node in self.nodes:
            reached, ends = {node}, [node]
            for end in ends:
                beyond = around.get(end, set()) - reached
                ends += beyond & switches
                reached |= beyond
            linked[node] = sorted((reached - {node}) & places.keys(), key=places.__getitem__)
        return linked

    @cached_property
    def profiles(self) -> dict[str, Profile]:
        """The device profiles that nodes can name."""
        return profiles(None if self.devices is None else Path(self.devices))

    @model_validator(mode="before")
    @classmethod
    def _equip(cls, written: Any, info: ValidationInfo) -> Any:
        """Make the path of the device file absolute, and give nodes the memory of their devices."""
        if not isinstance(written, dict) or not isinstance(written.get("nodes"), dict):
            return written
        own = written.get("devices")
        if isinstance(own, str):
            own = anchored(own, info.context, "topology")
            written = {**written, "devices": str(own)}
        known, nodes = profiles(own if isinstance(own, Path) else None), written["nodes"]
        if unknown := list(_unknown_devices(nodes, known)):
            raise MistakesError(unknown)
        return {**written, "nodes": {name: _equipped(node, known) for name, node in nodes.items()}}

    @model_validator(mode="after")
    def _check(self) -> "Topology":
        """Find mistakes between values; raises MistakesError with all of them."""
        found = [
            *self._name_mistakes(),
            *self._endpoint_mistakes(),
            *self._repetitions(),
            *self._property_mistakes(),
            *self._loops(),
            *self._kinds_mistakes(),
        ]
        if found:
            raise MistakesError(found)
        if islands := list(self._islands()):  # only now: a mistake above may be the cause
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
                    yield ("links", index, "endpoints", end), f"there is no node or switch {name!r}; known are {known}"
            if len(set(link.endpoints)) == 1 and link.endpoints[0] in self.nodes:
                yield ("links", index, "endpoints"), f"links {link.endpoints[0]!r} to itself; name two different ends"
            ports.update(link.endpoints)
            for end, name in enumerate(link.endpoints):
                node, other = self.nodes.get(name), link.endpoints[1 - end]
                if node is not None and not node.forwards and other in self.nodes:
                    yield ("links", index, "endpoints"), f"links {name!r} to a node; a {node.kind!r} goes to a switch"
        for name, node in self.nodes.items():
            if ports[name] > 1 and not node.forwards:
                yield ("nodes", name), f"has {ports[name]} links; a node of kind {node.kind!r} has one"
        for index, name in enumerate(self.switches):
            if ports[name] > _MOST_PORTS:
                yield ("switches", index), f"{name!r} has {ports[name]} links; a switch can have {_MOST_PORTS}"

    def _repetitions(self) -> Iterator[Mistake]:
        """Links with other ends whose names are the same: ``a-b`` to ``c``, and ``a`` to ``b-c``."""
        names: dict[str, int] = {}
        for index, link in enumerate(self.links):
            name = "-".join(link.endpoints)
            namesake = names.setdefault(name, index)
            if link.endpoints != self.links[namesake].endpoints:
                yield ("links", index), f"would be called {name!r}, as links[{namesake}] is; swap the ends of one"

    def _kinds_mistakes(self) -> Iterator[Mistake]:
        for kind in dict.fromkeys(map(type, self.nodes.values())):
            if issubclass(kind, NodeKind):
                yield from ((("nodes", *loc), message) for loc, message in kind.mistakes(self.nodes))

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
                resolve_direction("up", self.defaults.link, link), resolve_direction("down", self.defaults.link, link)
            except ValueError as error:
                yield ("links", index), str(error)

    def _loops(self) -> Iterator[Mistake]:
        """Loops of switches. Their bridges run no spanning tree, so a broadcast would circle forever."""
        root = {name: name for name in self.switches}
        for index, link in enumerate(self.links):
            if not set(link.endpoints) <= set(self.switches):
                continue
            first, second = (root[end] for end in link.endpoints)
            if first == second:
                yield ("links", index), "closes a loop of switches; leave one of its links out"
            root = {name: first if group == second else group for name, group in root.items()}


def _device(node: Any) -> str | None:
    """The device that a node in a file names, if any."""
    device = node.get("device") if isinstance(node, dict) else None
    return device if isinstance(device, str) else None


def _unknown_devices(nodes: Mapping[Any, Any], known: Mapping[str, Profile]) -> Iterator[Mistake]:
    for name, node in nodes.items():
        if (device := _device(node)) is not None and device not in known:
            yield ("nodes", str(name), "device"), f"there is no device {device!r}; known are {', '.join(known)}"


def _equipped(node: Any, known: Mapping[str, Profile]) -> Any:
    """A node in a file, with the memory of its device unless it has its own."""
    profile = known.get(_device(node) or "")
    return node if profile is None else {"memory": SIZE.format(profile.memory), **node}
