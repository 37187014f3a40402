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

    def route(self, source: str, target: str) -> list[Link]:
        """The links from one node to another, in their order; empty if there is no way."""
        return self._routes(source).get(target, [])

    def neighbours(self, node: str) -> list[str]:
        """The nodes that ``node`` can reach, in the order of the file."""
        reached = self._routes(node)
        return [other for other in self.nodes if other in reached and other != node]

    def _routes(self, source: str) -> dict[str, list[Link]]:
        routes: dict[str, list[Link]] = {source: []}
        frontier = [source]
        while frontier:
            here = frontier.pop(0)
            for link in self.resolved_links:
                there = {link.a: link.b, link.b: link.a}.get(here)
                if there is not None and there not in routes:
                    routes[there] = [*routes[here], link]
                    frontier += [there] if there in self.switches else []  # a node does not forward
        return routes

    @model_validator(mode="after")
    def _check(self) -> "Topology":
        """Find what single values cannot show."""
        found = [*self._name_mistakes(), *self._endpoint_mistakes(), *self._property_mistakes(), *self._loops()]
        if found:
            raise MistakesError(found)
        return self

    def _name_mistakes(self) -> Iterator[Mistake]:
        for name, times in Counter([*self.nodes, *self.switches]).items():
            if times > 1:
                yield ("switches",), f"the name {name!r} is taken twice; nodes and switches need names of their own"

    def _endpoint_mistakes(self) -> Iterator[Mistake]:
        attached: Counter[str] = Counter()
        misnamed = False
        for index, link in enumerate(self.links):
            for end, name in enumerate(link.endpoints):
                if name not in self.nodes and name not in self.switches:
                    known = ", ".join([*self.nodes, *self.switches])
                    yield ("links", index, "endpoints", end), f"there is no {name!r} to link to; known are {known}"
                    misnamed = True
            if set(link.endpoints) <= set(self.nodes):
                yield ("links", index, "endpoints"), "one end must be a switch; put one between the two"
            attached.update(name for name in link.endpoints if name in self.nodes)
        for name in self.nodes:
            lacks_one = attached[name] == 0 and len(self.nodes) > 1 and not misnamed  # a misnamed end may be its own
            if attached[name] > 1 or lacks_one:
                yield ("nodes", name), f"needs exactly one link to a switch, and has {attached[name]}"

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
