"""What every fault is: a part of the scenario file that says which effects it has, and for how long."""

import math
import random
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.spec import Spec
from testbed.faults.effects import Effects
from testbed.faults.targets import change_node
from testbed.schema.explain import Mistake
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology

FOREVER: Final = math.inf
"""Until the fault is over."""


@dataclass(frozen=True)
class Phase:
    """Effects that a fault has, and for how many seconds."""

    effects: Effects
    seconds: float = FOREVER


class Fault(Spec):
    """One kind of fault. Docstrings and descriptions of fields are its documentation (docs/faults.md)."""

    short: ClassVar[str]
    """The field that a value without keys stands for: ``kill: c``."""

    momentary: ClassVar[bool] = False
    """It is over as soon as its phases are; what the last one did stays."""

    outlives_play: ClassVar[bool] = False
    """It is not undone at the end of play: that would start what nobody needs any more."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it happens to, for people."""

    @abstractmethod
    def phases(self, topology: Topology) -> Iterator[Phase]:
        """What it does, from its beginning on; the last phase lasts until it is over."""

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """What is wrong with it in this topology."""
        del topology
        yield from ()

    def changed(self, link: Link) -> Link:
        """The properties that a link has while this fault alone is active, whether anything gets through or not."""
        return link

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """The keys of one in a random timeline, as in a file; None if nothing is there that it could happen to."""
        del topology, chance
        return None

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, written: Any) -> Any:
        return written if isinstance(written, dict | Spec) else {cls.short: written}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        required = [name for name, field in cls.model_fields.items() if field.is_required()]
        annotation: Any = cls.model_fields[cls.short].annotation
        short = TypeAdapter(annotation).json_schema()
        return {"anyOf": [handler(schema), short]} if required == [cls.short] else handler(schema)


class NodeFault(Fault):
    """A fault of one node."""

    short = "node"
    node: str = Field(description="its name in the topology file")

    @property
    def subject(self) -> str:
        """The node."""
        return self.node

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """A node that is not there."""
        yield from node_mistakes(("node",), self.node, topology)

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any]:
        """Any node."""
        return {"node": chance.choice(list(topology.nodes))}


class LinkFault(Fault):
    """A fault of one link."""

    short = "link"
    link: str = Field(description="like a-s1, after its ends in the order of the topology file")

    @property
    def subject(self) -> str:
        """The link."""
        return self.link

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """A link that is not there."""
        known = [link.name for link in topology.resolved_links]
        if self.link not in known:
            yield ("link",), f"there is no link {self.link!r}; known are {', '.join(known)}"

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Any link."""
        links = topology.resolved_links
        return {"link": chance.choice(links).name} if links else None


class ConditionFault(NodeFault):
    """A fault of one node that lasts as it began."""

    @abstractmethod
    def condition(self) -> dict[str, Any]:
        """The fields of Condition that it sets."""

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """One."""
        del topology
        yield Phase([change_node(self.node, **self.condition())])


def node_mistakes(loc: tuple[str | int, ...], node: str, topology: Topology) -> Iterator[Mistake]:
    """A node that is not there."""
    if node not in topology.nodes:
        yield loc, f"there is no node {node!r}; known are {', '.join(topology.nodes)}"
