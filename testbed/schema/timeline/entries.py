"""The timeline of a scenario: which fault happens when, and for how long.

Faults bring their own schema; this module collects them.
"""

import math
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from pydantic import (
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.spec import Spec, matching
from testbed.core.units import DURATION, Duration, Rate
from testbed.schema.bound import Bound
from testbed.schema.explain import Mistake, MistakesError
from testbed.schema.fault import ENTRY_KEYS, FAULTS, Fault, node_mistakes
from testbed.schema.kinds import find, loadable, mistakes_of, read
from testbed.schema.network.topology import Topology

_TRIGGERS: Final = ("at", "after", "when", "in")

_MOST_DRAWN: Final = 200  # faults of one `random`; what happens more often than that happens all the time

_LONGEST_QUEUE: Final = 100_000  # jobs; a condition that no shorter queue meets is none


class Standing(Protocol):
    """How a node stands, as triggers look at it."""

    queue: int
    tokens: int
    answered: int
    failed: int
    layer: int


Standings = Mapping[str, Standing]
"""How all nodes stand, by name."""


@dataclass(frozen=True)
class Extent:
    """What is known of a play beforehand: its topology, how many prompts it has, the last layer that its pattern has,
    and after about how many seconds the last prompt arrives."""

    topology: Topology
    prompts: int
    last_layer: int
    seconds: float


class Trigger(Spec):
    """What an entry waits for, if not a time."""

    @abstractmethod
    def met(self, nodes: Standings) -> bool:
        """Whether it has come."""

    @abstractmethod
    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """Why it cannot come."""


class After(Trigger):
    """So many prompts have ended, answered or not, or so many tokens have been written, in all or at one node."""

    prompts: int | None = Field(None, ge=1, description="prompts that have ended; with `node`, those that it owns")
    tokens: int | None = Field(None, ge=1, description="tokens that models have written")
    node: str | None = Field(None, description="the node whose prompts or tokens count; without it, all do")

    @model_validator(mode="after")
    def _check(self) -> "After":
        if (self.prompts is None) == (self.tokens is None):
            raise ValueError("takes either `prompts` or `tokens`, like {prompts: 10}")
        return self

    def met(self, nodes: Standings) -> bool:
        """Enough."""
        counted = list(nodes.values()) if self.node is None else [nodes[self.node]]
        if self.tokens is not None:
            return sum(node.tokens for node in counted) >= self.tokens
        return sum(node.answered + node.failed for node in counted) >= (self.prompts or 0)

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """More prompts than there are."""
        if self.node is not None:
            yield from node_mistakes(("node",), self.node, extent.topology)
        if (self.prompts or 0) > extent.prompts:
            yield ("prompts",), f"never comes: the workload has {extent.prompts} prompts; wait for at most as many"


class When(Trigger):
    """A node's queue is as long as the bound says."""

    node: str
    queue: str = Field(description='jobs that wait and the one at work, like "> 3"')

    @field_validator("queue")
    @classmethod
    def _is_bound(cls, queue: str) -> str:
        bound = Bound.parse("queue.max", queue)
        if not any(map(bound.holds, range(_LONGEST_QUEUE))):
            raise ValueError(f"{queue!r} holds of no queue; its length is a whole number from 0 on")
        return queue

    def met(self, nodes: Standings) -> bool:
        """The bound holds."""
        return Bound.parse("queue.max", self.queue).holds(nodes[self.node].queue)

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """A node that is not there."""
        yield from node_mistakes(("node",), self.node, extent.topology)


class In(Trigger):
    """The first job of a layer has begun, for whichever prompt."""

    layer: int = Field(ge=1)

    def met(self, nodes: Standings) -> bool:
        """It, or a later one."""
        return any(node.layer >= self.layer for node in nodes.values())

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """A layer that no prompt comes to."""
        if self.layer > extent.last_layer:
            yield ("layer",), f"never comes: the last layer of this pattern is {extent.last_layer}"


class RandomFaults(Spec):
    """Faults that the seed of a run draws: which, of what, when and for how long. :mod:`.drawing` does it."""

    faults: list[str] = Field(default_factory=FAULTS.names, min_length=1, description="kinds that are drawn")
    rate: Rate = Field(description="how many begin in a time, on average; a Poisson process")
    shortest: Duration = Field(0.5, gt=0, description="how long each lasts at least")
    longest: Duration = Field(5.0, gt=0, description="how long each lasts at most")

    @model_validator(mode="after")
    def _check(self) -> "RandomFaults":
        if self.shortest > self.longest:
            raise ValueError("`shortest` must be at most `longest`")
        return self

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """Kinds that there are not, or not here, and more than is of use."""
        unknown = [(index, kind) for index, kind in enumerate(self.faults) if kind not in FAULTS]
        for index, kind in unknown:
            yield ("faults", index), f"there is no fault {kind!r}; known are {', '.join(FAULTS.names())}"
        if not unknown and not self.possible(extent.topology):
            yield ("faults",), "this topology has nothing that these could happen to; name others"
        if (expected := self.rate * extent.seconds) > _MOST_DRAWN:
            yield ("rate",), f"would draw about {expected:.0f} faults; let it be no more than {_MOST_DRAWN}"

    def possible(self, topology: Topology) -> list[str]:
        """Those of the kinds that there is something for in a topology."""
        chance = random.Random(0)
        return [kind for kind in self.faults if kind in FAULTS and FAULTS.get(kind).draw(topology, chance) is not None]


FaultName = Annotated[str, *matching("[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens, like split")]


class Entry(Spec):
    """What happens, and when. Besides these keys it has one that is the kind of a fault."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: FaultName | None = Field(None, description="by default the kind of fault and a number, like cut-1")
    at: Duration | None = Field(None, description="after the beginning of play")
    after: After | None = None
    when: When | None = None
    in_: In | None = Field(None, alias="in")
    lasts: Duration | None = Field(None, alias="for", gt=0, description="after this time the fault is undone")
    heal: str | None = Field(None, description="name of a fault that ends now, in place of a fault")
    random: RandomFaults | None = Field(None, description="entries that the run draws, in place of this one")
    _faults: dict[str, Fault] = PrivateAttr(default_factory=dict)  # by the key in the file

    @property
    def kind(self) -> str:
        """The kind of its fault, ``heal`` or ``random``."""
        (kind,) = self._kinds()
        return kind

    @property
    def fault(self) -> Fault | None:
        """None where the entry heals, or where what happens is still to be drawn."""
        return self._faults.get(self.kind)

    @property
    def subject(self) -> str:
        """What it happens to, for people: a node, a link, the sides of a partition, or the fault that it heals."""
        return self.fault.subject if self.fault else self.heal or ""

    @property
    def label(self) -> str:
        """Its name; an entry of a scenario always has one."""
        return self.name or ""

    @property
    def triggers(self) -> dict[str, Trigger]:
        """What it waits for, by its key; nothing where it is a time."""
        found = {"after": self.after, "when": self.when, "in": self.in_}
        return {key: trigger for key, trigger in found.items() if trigger is not None}

    @property
    def awaited(self) -> str:
        """What it waits for, for people."""
        if self.at is not None:
            return f"at: {DURATION.format(self.at)}"
        ((key, trigger),) = self.triggers.items()
        said = trigger.model_dump(mode="json", exclude_none=True)
        return f"{key}: {', '.join(f'{what} {value}' for what, value in said.items())}"

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, written: Any, handler: ModelWrapValidatorHandler["Entry"], info: ValidationInfo) -> "Entry":
        """The keys that name faults are read by the faults' own schemas."""
        if not isinstance(written, dict):
            return handler(written)
        kinds = [key for key in written if key not in ENTRY_KEYS and key in FAULTS]
        faults: dict[str, Fault] = {}
        found: list[Mistake] = []
        for kind in kinds:
            try:
                fault, name = find(FAULTS, kind, kind, info.context)
                faults[name] = read(fault, written[kind], info.context)
            except MistakesError as error:
                found += [((kind, *loc), message) for loc, message in error.found]
        try:
            entry = handler({key: value for key, value in written.items() if key not in kinds})
        except ValidationError as error:
            raise MistakesError([*found, *mistakes_of(error, cls)]) from None
        if found:
            raise MistakesError(found)
        entry._faults = faults
        entry._check()
        return entry

    def _check(self) -> None:
        """Raises ValueError for keys that do not go together."""
        if self.random is not None and (self._faults or not self.model_fields_set <= {"name", "random"}):
            raise ValueError("`random` stands alone: when its faults happen and for how long is drawn, too")
        if self.random is None and len(self.triggers) + (self.at is not None) != 1:
            raise ValueError(f"takes one of {', '.join(_TRIGGERS)} to say when it happens")
        if len(kinds := self._kinds()) != 1:
            found = f"not {' and '.join(kinds)}" if kinds else "and has none"
            raise ValueError(f"takes one fault, {found}; known are {', '.join(FAULTS.names())}, heal and random")
        if self.lasts is not None and (self.fault is None or self.fault.momentary):
            raise ValueError(f"`for` does not go with `{self.kind}`, which is over at once; leave it out")

    def _kinds(self) -> list[str]:
        return [*self._faults, *(kind for kind in ("heal", "random") if getattr(self, kind) is not None)]

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        faults = {
            kind: fault.model_dump(mode=info.mode, exclude_none=info.exclude_none)
            for kind, fault in self._faults.items()
        }
        return {**handler(self), **faults}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler.resolve_ref_schema(handler(schema))
        faults = {name: handler(fault.__pydantic_core_schema__) for name, fault in loadable(FAULTS)}
        return {**described, "properties": {**described["properties"], **faults}}


def named(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, each with a name; that of one without is its kind and its number among those of the kind."""
    numbers: Counter[str] = Counter()
    result = []
    for entry in entries:
        numbers[entry.kind] += 1
        name = entry.name or f"{entry.kind}-{numbers[entry.kind]}"
        result.append(entry.model_copy(update={"name": name}))
    return result


def timeline_mistakes(entries: Sequence[Entry], extent: Extent) -> Iterator[Mistake]:
    """What is wrong with a timeline as a whole, and with each entry of it in this play."""
    names = [entry.label for entry in entries]
    for index, entry in enumerate(entries):
        for loc, message in _entry_mistakes(entry, extent):
            yield (index, *loc), message
        if entry.label in names[:index]:
            yield (index,), f"the name {entry.label!r} is taken already; give this one another"
        healed = dict(zip(names, entries, strict=True)).get(entry.heal or "")
        if entry.heal is not None and (healed is None or healed.fault is None):
            known = ", ".join(other.label for other in entries if other.fault) or "none"
            yield (index, "heal"), f"there is no fault named {entry.heal!r}; known are {known}"
    yield from _impossible(entries)


def _entry_mistakes(entry: Entry, extent: Extent) -> Iterator[Mistake]:
    if entry.fault is not None:
        for loc, message in entry.fault.mistakes(extent.topology):
            yield (entry.kind, *loc), message
    if entry.random is not None:
        for loc, message in entry.random.mistakes(extent):
            yield ("random", *loc), message
    for key, trigger in entry.triggers.items():
        for loc, message in trigger.mistakes(extent):
            yield (key, *loc), message
    # How long nodes take for their last prompts nobody knows; ten times as long, and ten minutes, is beyond all sense.
    if entry.at is not None and entry.at > 10 * extent.seconds + 600:
        arrived = DURATION.readable(extent.seconds)
        yield ("at",), f"is long after the end: the {extent.prompts} prompts have arrived after about {arrived}"


def _impossible(entries: Sequence[Entry]) -> Iterator[Mistake]:
    """What is to happen to a node that is dead by then; of triggers nobody knows when they come."""
    timed = [(entry.at, index, entry) for index, entry in enumerate(entries) if entry.at is not None]
    dead: dict[str, tuple[str, float]] = {}
    for at, index, entry in sorted(timed, key=lambda one: one[:2]):
        dead = {node: (name, until) for node, (name, until) in dead.items() if until > at and name != entry.heal}
        fault = entry.fault
        if fault is None:
            continue
        if fault.starts is not None:
            dead.pop(fault.starts, None)
        if fault.needs is not None and fault.needs in dead:
            killer, _ = dead[fault.needs]
            yield (index,), f"node {fault.needs!r} is dead by then, of {killer}; restart it before, or heal {killer}"
        elif fault.ends is not None:
            dead[fault.ends] = (entry.label, at + (entry.lasts or math.inf))
