"""The base of all faults: a part of the scenario file that says which effects a fault has, and for how long."""

import math
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import GetJsonSchemaHandler, TypeAdapter, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.schema.network.link import Link
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake

State = TypeVar("State")

FOREVER: Final = math.inf
"""Seconds of a phase that lasts until the fault ends."""

ENTRY_KEYS: Final = ("name", "at", "after", "when", "in", "for", "heal", "random")
"""Keys of a timeline's entry that name no fault; no kind can take one as its name."""


@dataclass(frozen=True, eq=False)
class Effect(Generic[State]):
    """A function from one state of ``target`` to another. The same effect may be active several times.

    A target is a link or a node of a world (:mod:`testbed.faults.targets`); equal targets are the same link or node.
    """

    target: Any
    change: Callable[[State], State]


Effects = Sequence[Effect[Any]]


@dataclass(frozen=True)
class Phase:
    """The effects that a fault has for a number of seconds."""

    effects: Effects
    seconds: float = FOREVER


class Fault(Spec):
    """Base of all kinds of faults. A kind's docstring and field descriptions stand in docs/faults.md word for word."""

    short: ClassVar[str]
    """The field that a value without keys sets: in ``kill: c`` it is ``node``."""

    momentary: ClassVar[bool] = False
    """Whether the fault ends with its last phase, whose effects stay. Such a fault takes no ``for``."""

    outlives_play: ClassVar[bool] = False
    """Whether the fault stays in force after the end of play, so that no node is started for nothing."""

    needs_truths: ClassVar[bool] = False
    """Whether it needs questions whose right answers are known."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """The target of the fault, for people."""

    @property
    def needs(self) -> str | None:
        """The node that must be running when the fault begins."""
        return None

    @property
    def ends(self) -> str | None:
        """The node that is down while the fault is active."""
        return None

    @property
    def starts(self) -> str | None:
        """The node that runs after the fault, even if an earlier fault has ended it."""
        return None

    def demands(self) -> Iterator[tuple[str, str]]:
        """Each node that the fault changes, with the field of :class:`~testbed.faults.api.Condition` that it changes.

        A scenario is refused if the node's kind cannot suffer that.
        """
        yield from ()

    @property
    def models(self) -> Mapping[str, str]:
        """By node, the reference of a model that the node needs besides its own."""
        return {}

    @abstractmethod
    def phases(self, topology: Topology) -> Iterator[Phase]:
        """The phases of the fault in order; the last one lasts until the fault ends."""

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """Mistakes that the topology shows, such as an unknown node."""
        del topology
        yield from ()

    def changed(self, link: Link) -> Link:
        """The properties of ``link`` while this fault alone is active; a cut does not change them."""
        return link

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """Keys and values of a random fault of this kind, as in a file; None if the topology has no target for it."""
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
    """A mistake at ``loc`` if ``node`` is not in the topology."""
    if node not in topology.nodes:
        yield loc, f"there is no node {node!r}; known are {', '.join(topology.nodes)}"
