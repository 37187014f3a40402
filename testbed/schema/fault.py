"""What every fault is: a part of the scenario file that says which effects it has, and for how long."""

import math
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import GetJsonSchemaHandler, TypeAdapter, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.schema.explain import Mistake
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology

State = TypeVar("State")

FOREVER: Final = math.inf
"""Until the fault is over."""

ENTRY_KEYS: Final = ("name", "at", "after", "when", "in", "for", "heal", "random")
"""The keys of a timeline's entry that name no fault."""


@dataclass(frozen=True, eq=False)
class Effect(Generic[State]):
    """What a fault makes of the state of ``target``. The same effect may be active several times.

    A target is a part of a world (:mod:`testbed.faults.api`); equal targets are the same part.
    """

    target: Any
    change: Callable[[State], State]


Effects = Sequence[Effect[Any]]


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
    """The fault is over as soon as its phases are; what the last one did stays."""

    outlives_play: ClassVar[bool] = False
    """The fault is not undone at the end of play: that would start what nobody needs any more."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it happens to, for people."""

    @property
    def needs(self) -> str | None:
        """The node that must be running when the fault begins."""
        return None

    @property
    def ends(self) -> str | None:
        """The node that does not run while the fault is active."""
        return None

    @property
    def starts(self) -> str | None:
        """The node that runs once the fault has begun, whatever ended it."""
        return None

    def demands(self) -> Iterator[tuple[str, str]]:
        """Each node that the fault changes, with the field of :class:`~testbed.faults.api.Condition` that it changes.

        A scenario is refused if the node's kind cannot suffer that.
        """
        yield from ()

    @abstractmethod
    def phases(self, topology: Topology) -> Iterator[Phase]:
        """What the fault does, from its beginning on; the last phase lasts until the fault is over."""

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """What is wrong with it in this topology."""
        del topology
        yield from ()

    def changed(self, link: Link) -> Link:
        """The properties that a link has while this fault alone is active, whether frames get through or not."""
        return link

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """The keys of one in a random timeline, as in a file; None if the topology has nothing it could happen to."""
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


FAULTS: Final[Registry[type[Fault]]] = Registry("testbed.faults", "fault", Fault, reserved=ENTRY_KEYS)


def node_mistakes(loc: tuple[str | int, ...], node: str, topology: Topology) -> Iterator[Mistake]:
    """A mistake at ``loc`` if the topology has no such node."""
    if node not in topology.nodes:
        yield loc, f"there is no node {node!r}; known are {', '.join(topology.nodes)}"
