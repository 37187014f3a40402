"""The entries of a timeline: which fault begins when, and how long it lasts.

The schema of each fault is that of its kind, found in the registry :data:`testbed.schema.fault.FAULTS`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

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
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.registry import FILE_REFERENCE_PATTERN
from testbed.core.spec import Spec, matching
from testbed.core.units import DURATION, Duration
from testbed.schema.fault import ENTRY_KEYS, FAULTS, Fault
from testbed.schema.kind_fields import find, loadable, mistakes_of, read
from testbed.schema.network.node import NODE_KINDS
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake, MistakesError
from testbed.schema.timeline.random_options import RandomFaults
from testbed.schema.timeline.triggers import After, Extent, In, Trigger, When

_TRIGGERS: Final = ("at", "after", "when", "in")

FaultName = Annotated[str, *matching("[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens, like split")]


class Entry(Spec):
    """One entry: a time or a trigger, and one further key that names the kind of a fault."""

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
        """The fault; None of an entry that has ``heal`` or ``random`` in its place."""
        return self._faults.get(self.kind)

    @property
    def subject(self) -> str:
        """The target, for people: a node, a link, the sides of a partition, or the name of the fault that is healed."""
        return self.fault.subject if self.fault else self.heal or ""

    @property
    def label(self) -> str:
        """The entry's name; :func:`named` has given every entry of a scenario one."""
        return self.name or ""

    @property
    def triggers(self) -> dict[str, Trigger]:
        """The entry's trigger by its key in the file; empty if the entry has a time."""
        found = {"after": self.after, "when": self.when, "in": self.in_}
        return {key: trigger for key, trigger in found.items() if trigger is not None}

    @property
    def awaited(self) -> str:
        """The entry's time or trigger, for people: ``at: 20s``, ``after: prompts 3``."""
        if self.at is not None:
            return f"at: {DURATION.format(self.at)}"
        ((key, trigger),) = self.triggers.items()
        said = trigger.model_dump(mode="json", exclude_none=True)
        return f"{key}: {', '.join(f'{what} {value}' for what, value in said.items())}"

    @property
    def sentence(self) -> str:
        """The entry for people: ``kill-1 (a), at: 1.2s, for: 3s``."""
        lasting = "" if self.lasts is None else f", for: {DURATION.format(self.lasts)}"
        return f"{self.label} ({self.subject}), {self.awaited}{lasting}"

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, written: Any, handler: ModelWrapValidatorHandler["Entry"], info: ValidationInfo) -> "Entry":
        """Read the keys that name faults by the schemas of their kinds."""
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
        """Raises ValueError for keys that exclude each other, and for missing ones."""
        if self.random is not None and (self._faults or not self.model_fields_set <= {"name", "random"}):
            raise ValueError(
                "`random` stands alone: when its faults happen and for how long is drawn; leave other keys out"
            )
        if self.random is None and len(self.triggers) + (self.at is not None) != 1:
            raise ValueError(f"takes one of {', '.join(_TRIGGERS)} to say when it happens")
        if len(kinds := self._kinds()) != 1:
            found = f"not {' and '.join(kinds)}" if kinds else "and has none"
            raise ValueError(f"takes one fault, {found}; known are {', '.join(FAULTS.names())}, heal and random")
        if self.lasts is not None and (self.fault is None or self.fault.momentary):
            raise ValueError(
                f"`for` does not go with `{self.kind}`, which takes effect at once and has no duration; leave it out"
            )

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
        of_file: JsonSchemaValue = {FILE_REFERENCE_PATTERN: {}}
        return {**described, "properties": {**described["properties"], **faults}, "patternProperties": of_file}


def named(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with names. One without a name gets its kind and its number among those of the kind: ``cut-2``."""
    numbers: Counter[str] = Counter()
    result = []
    for entry in entries:
        numbers[entry.kind] += 1
        name = entry.name or f"{entry.kind}-{numbers[entry.kind]}"
        result.append(entry.model_copy(update={"name": name}))
    return result


def timeline_mistakes(entries: Sequence[Entry], extent: Extent) -> Iterator[Mistake]:
    """Every mistake in a timeline: in single entries, given the play's extent, and between entries."""
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


def _insufferable(called: str, fault: Fault, topology: Topology) -> Iterator[Mistake]:
    """The first node whose kind cannot suffer what the fault does to it."""
    for name, field in fault.demands():
        kind = topology.nodes[name].kind if name in topology.nodes else None
        if kind is not None and field not in NODE_KINDS.get(kind).suffers:
            yield (called,), f"node {name!r} is of kind {kind!r}, which cannot suffer `{called}`; name another node"
            return


def _entry_mistakes(entry: Entry, extent: Extent) -> Iterator[Mistake]:
    if entry.fault is not None:
        for loc, message in entry.fault.mistakes(extent.topology):
            yield (entry.kind, *loc), message
        yield from _insufferable(entry.kind, entry.fault, extent.topology)
        if entry.fault.needs_truths and not extent.truths:
            yield (entry.kind,), "needs questions with a `truth`, and no prompt of this workload has one"
    if entry.random is not None:
        for loc, message in entry.random.mistakes(extent):
            yield ("random", *loc), message
    for key, trigger in entry.triggers.items():
        for loc, message in trigger.mistakes(extent):
            yield (key, *loc), message
    # The time that nodes need for the last prompts is unknown; the limit is ten times the arrivals' and ten minutes.
    if entry.at is not None and entry.at > 10 * extent.seconds + 600:
        arrived = DURATION.readable(extent.seconds)
        last = f"the last of {extent.prompts} prompts, which arrives after about {arrived}"
        yield ("at",), f"is long after {last}; name an earlier time"


def _impossible(entries: Sequence[Entry]) -> Iterator[Mistake]:
    """Faults at a node that a fault has killed before; only entries with a time are looked at."""
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
            yield (
                (index,),
                f"node {fault.needs!r} is down by then, killed by {killer}; restart it before, or heal {killer}",
            )
        elif fault.ends is not None:
            dead[fault.ends] = (entry.label, at + (entry.lasts or math.inf))
