"""Expectations: bounds on metrics, of the whole run or a part of it, and the states of nodes at the end of play."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationInfo,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from testbed.core.registry import FILE_REFERENCE_PATTERN, is_file_reference
from testbed.core.spec import Spec
from testbed.core.units import DURATION, Duration
from testbed.schema.bound import Bound, bound_on
from testbed.schema.fault import node_mistakes
from testbed.schema.kind_fields import find
from testbed.schema.metric import METRICS
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake, MistakesError
from testbed.schema.timeline.entries import Entry

State = Literal["running", "exited", "out of memory"]
"""The state of a node at the end of play. A node that is out of memory has exited as well."""

_States = Annotated[
    Annotated[Literal["all"], Tag("[all]")] | Annotated[dict[str, State], Tag("[states]")],
    Discriminator(lambda written: "[all]" if isinstance(written, str) else "[states]"),
]


class ExpectationEntry(Spec):
    """The part of a run and the states of nodes. All further keys are metrics with their bounds."""

    model_config = ConfigDict(serialize_by_alias=True)

    during: str | None = Field(None, description="while the fault of this name is in force")
    after: str | None = Field(None, description="after the fault of this name ends or is healed")
    within: Duration | None = Field(None, gt=0, description="with `after`: for at most this time")
    begin: Duration | None = Field(None, alias="from", description="from this time after the beginning of play")
    end: Duration | None = Field(None, alias="to", description="until this time after the beginning of play")
    node: str | None = Field(None, description="of this node alone")
    nodes: _States | None = Field(
        None, description="`all`: of each node by itself; or states of nodes, like {c: exited}"
    )
    _in_files: dict[str, Bound] = PrivateAttr(default_factory=dict)  # bounds on metrics that are FILE.py:NAME

    @property
    def metric_files(self) -> list[str]:
        """The metrics that are ``FILE.py:NAME``."""
        return list(self._in_files)

    @property
    def bounds(self) -> dict[str, Bound]:
        """The bounds by metric, in the order of tables."""
        found = {metric: getattr(self, metric, None) for metric in METRICS.names()}
        bounds = {metric: bound for metric, bound in found.items() if bound is not None} | self._in_files
        return dict(sorted(bounds.items(), key=lambda item: METRICS.get(item[0]).rank))

    @property
    def states(self) -> Mapping[str, State]:
        """The states that nodes must have at the end of play, by node."""
        return {} if self.nodes is None or self.nodes == "all" else self.nodes

    @property
    def window(self) -> str | None:
        """The part of play, for people: ``after cut-1 within 10s``. None is all of play."""
        said = {"during": self.during, "after": self.after, "within": self.within, "from": self.begin, "to": self.end}
        words = [
            f"{key} {value if isinstance(value, str) else DURATION.format(value)}"
            for key, value in said.items()
            if value is not None
        ]
        return " ".join(words) or None

    def subjects(self, nodes: Sequence[str]) -> Sequence[str | None]:
        """The nodes that the bounds apply to, each by itself; None stands for all nodes together."""
        return nodes if self.nodes == "all" else [self.node]

    def mistakes(self, timeline: Sequence[Entry], topology: Topology) -> Iterator[Mistake]:
        """Mistakes that the timeline and the topology show."""
        entries = {entry.label: entry for entry in timeline}
        for key, label in (("during", self.during), ("after", self.after)):
            if label is not None and label not in entries:
                known = ", ".join(entries) or "none"
                yield (key,), f"the timeline has no entry named {label!r}; known are {known}"
        if self.during in entries and _is_over_at_once(entries[self.during]):
            yield ("during",), f"{self.during} has no duration; write `after: {self.during}`"
        if self.after in entries and _lasts_to_the_end(entries[self.after], timeline):
            yield (
                ("after",),
                f"{self.after} lasts until the end of play; write `during`, or end the fault by `for` or `heal`",
            )
        if self.node is not None:
            yield from node_mistakes(("node",), self.node, topology)
        for node in self.states:
            yield from node_mistakes(("nodes", node), node, topology)

    @model_validator(mode="wrap")
    @classmethod
    def _read(
        cls, written: Any, handler: ModelWrapValidatorHandler["ExpectationEntry"], info: ValidationInfo
    ) -> "ExpectationEntry":
        """Keys that are ``FILE.py:NAME`` are metrics of files; all others are fields."""
        if not isinstance(written, dict):
            return handler(written)
        in_files = {key: value for key, value in written.items() if isinstance(key, str) and is_file_reference(key)}
        entry = handler({key: value for key, value in written.items() if key not in in_files})
        for key, value in in_files.items():
            _, name = find(METRICS, key, key, info.context)
            entry._in_files[name] = Bound.parse(name, str(value))
        entry._check()
        return entry

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**handler(self), **{name: bound.written for name, bound in self._in_files.items()}}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler.resolve_ref_schema(handler(schema))
        return {**described, "patternProperties": {FILE_REFERENCE_PATTERN: {"type": "string"}}}

    def _check(self) -> None:
        """Raises MistakesError for keys that do not go together."""
        contradictions: list[Mistake] = [((), message) for message in self._contradictions()]
        if found := [*contradictions, *self._meaningless()]:
            raise MistakesError(found)

    def _contradictions(self) -> Iterator[str]:
        """Keys that do not go together, and ones that are missing."""
        times = self.begin if self.begin is not None else self.end
        if sum(window is not None for window in (self.during, self.after, times)) > 1:
            yield "takes one of `during`, `after`, and `from` with `to`; make an entry of each"
        if self.within is not None and self.after is None:
            yield "`within` says for how long after something; say after what, like `after: cut-1`"
        if self.begin is not None and self.end is not None and self.begin >= self.end:
            yield "`to` must be later than `from`"
        if self.node is not None and self.nodes is not None:
            yield "takes `node` or `nodes`; make an entry of each"
        if self.states and self.window is not None:
            yield "how nodes end has no window; make an entry of it by itself"
        if not (self.bounds or self.states) and (self.window is not None or self._is_of_nodes):
            yield 'expects nothing; add a metric and its bound, like completed: ">= 1"'

    def _meaningless(self) -> Iterator[Mistake]:
        """Bounds on metrics that have no value for this part of a run."""
        for metric in self.bounds:
            if self.window is not None and not METRICS.get(metric).of_window:
                yield (metric,), "is measured over the whole of play only; move it to an entry without a window"
            if self._is_of_nodes and not METRICS.get(metric).of_node:
                yield (
                    (metric,),
                    "is measured over all nodes together only; move it to an entry without `node` and `nodes`",
                )

    @property
    def _is_of_nodes(self) -> bool:
        return self.node is not None or self.nodes == "all"


def _is_over_at_once(entry: Entry) -> bool:
    return entry.fault is None or entry.fault.momentary


def _lasts_to_the_end(entry: Entry, timeline: Sequence[Entry]) -> bool:
    ended = entry.lasts is not None or entry.label in [other.heal for other in timeline]
    return not ended and not _is_over_at_once(entry)


if TYPE_CHECKING:  # names of metrics have dots, so no class statement can list them
    Expectation = ExpectationEntry
else:
    Expectation = create_model(
        "Expectation",
        __base__=ExpectationEntry,
        **{metric: (bound_on(metric) | None, None) for metric in METRICS.names()},
    )

Expectations = Annotated[
    Annotated[Expectation, Tag("[one]")] | Annotated[list[Expectation], Tag("[several]")],
    Discriminator(lambda written: "[several]" if isinstance(written, list) else "[one]"),
]
"""What stands under ``expect``: one entry, or a list of them."""
