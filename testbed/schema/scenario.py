"""The scenario file: topology, pattern, workload, timeline and expectations of a run.

Patterns, prompt sources, arrival processes, scorers and faults bring schemas of their own, found in their registries.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator
from ruamel.yaml import YAML

from testbed.core.errors import SpecError
from testbed.core.input_files import anchored
from testbed.core.presence import is_directory
from testbed.core.registry import FileOrigin, UsedKind
from testbed.core.spec import Spec, matching
from testbed.core.units import Duration
from testbed.patterns.base import PATTERNS, Pattern, patterns_in
from testbed.patterns.participant import Peer, Surroundings
from testbed.patterns.protocol import MembershipOptions, QueueOptions, RetryOptions
from testbed.schema.chats import Chats
from testbed.schema.expectation import Expectation, Expectations
from testbed.schema.fault import FAULTS
from testbed.schema.kind_fields import OfKind
from testbed.schema.metric import METRICS
from testbed.schema.network.model_source import MODEL_SOURCES, scheme
from testbed.schema.network.node import NODE_KINDS, AgentNode, NodeKind
from testbed.schema.network.sensor import SENSORS, PowerSensor
from testbed.schema.network.topology import Topology
from testbed.schema.points import Point
from testbed.schema.reading.document import Document, override
from testbed.schema.reading.explain import Loc, Mistake, MistakesError
from testbed.schema.slo import ServiceLevel
from testbed.schema.timeline.entries import Entry, named, timeline_mistakes
from testbed.schema.timeline.random_faults import drawn
from testbed.schema.timeline.triggers import Extent
from testbed.schema.workload import SPREAD, Workload
from testbed.workload.arrivals.base import ARRIVALS
from testbed.workload.prompts.base import PROMPTS
from testbed.workload.scoring.base import SCORERS

_MOST_DILATION: Final = 100.0


def _read_dilation(written: object) -> object:
    if written == "auto":
        return written
    if isinstance(written, int | float) and not isinstance(written, bool) and 1 <= written <= _MOST_DILATION:
        return float(written)
    raise ValueError(f"{written!r} is no dilation; write a number from 1 to {_MOST_DILATION:g}, or auto")


Dilation = Annotated[
    float | Literal["auto"],
    BeforeValidator(_read_dilation),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 1, "maximum": _MOST_DILATION}, {"const": "auto"}]}),
]
"""The factor by which the nodes' time is slower than the host's; ``auto`` is the smallest that the host allows."""


Models = Literal["any", "pinned"]
Security = Literal["none", "signed", "mutual-tls"]


def _read_security(written: object) -> object:
    if written == "wireguard":
        raise ValueError("wireguard is not supported; mutual-tls encrypts requests and ring frames on every kernel")
    return written


class Sampling(Spec):
    """How a model samples tokens, with the names of the OpenAI API."""

    temperature: float = Field(0.7, ge=0, le=2)
    max_tokens: int = Field(24, ge=1)


class Scenario(Spec):
    """A scenario file together with the topology that it names."""

    name: Annotated[str, *matching("[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens, like my-run")]
    topology: Topology
    seed: int = Field(0, ge=0)
    pattern: Annotated[Pattern, OfKind(PATTERNS, "kind")]
    patterns: dict[str, Annotated[Pattern, OfKind(PATTERNS, "kind")]] = Field(
        default_factory=dict,
        description="patterns of nodes that answer delegated prompts in a way of their own; no others arrive at them",
    )
    queue: QueueOptions = QueueOptions()
    chat: Chats = Chats()
    retry: RetryOptions = RetryOptions()
    membership: MembershipOptions | None = Field(None, description="heartbeats between neighbours; none if left out")
    security: Annotated[Security, BeforeValidator(_read_security)] = Field(
        "none", description="whether nodes prove to each other who they are, and whether requests are encrypted"
    )
    models: Models = Field("any", description="whether answers by another model than the topology says are refused")
    capture: list[str] = Field(default_factory=list, description="links whose frames are recorded as pcapng")
    sampling: Sampling = Sampling()
    workload: Workload
    limit: Duration | None = Field(None, gt=0, description="time that play has; prompts that have not ended then fail")
    timeline: list[Entry] = Field(default_factory=list, description="faults, and when each begins")
    slo: ServiceLevel | None = Field(None, description="what an answer must keep to count for goodput")
    expect: Expectations = Field(default_factory=Expectation, description="what must hold for the run to pass")
    baseline: str | None = Field(
        None, description="run directory, or a directory of some, that the run is compared with"
    )
    dilation: Dilation = Field(1.0, description="how many times slower time runs for the nodes, or auto")
    oversubscribe: bool = Field(False, description="allow the nodes more CPU in total than the host has")
    sweep: list[Point] | None = Field(
        None, description="points that `testbed sweep` visits; `testbed run` ignores them"
    )

    @property
    def owners(self) -> Sequence[str]:
        """The nodes that prompts arrive at."""
        possible = self._possible_owners
        return [node for node in possible if node == self.workload.at] or possible

    @property
    def _possible_owners(self) -> list[str]:
        by_pattern = self.pattern.owners(self.surroundings)
        taking = (name for name, node in self.topology.nodes.items() if node.takes_prompts)
        return [name for name in (*by_pattern, *taking) if name not in self.patterns]

    @property
    def all_patterns(self) -> list[Pattern]:
        """Every pattern of every node, and those that they are made of."""
        return [part for pattern in (self.pattern, *self.patterns.values()) for part in patterns_in(pattern)]

    def pattern_of(self, node: str) -> Pattern:
        """The pattern that ``node`` runs."""
        return self.patterns.get(node, self.pattern)

    @cached_property
    def surroundings(self) -> dict[str, Surroundings]:
        """By node, what is known of it and of the nodes that it may call."""
        return {
            name: Surroundings(self.peer(name, name), self._peers(name), self.sampling.max_tokens)
            for name in self.topology.agents
        }

    def peer(self, name: str, other: str) -> Peer:
        """What the node ``name`` knows of ``other``."""
        node, links = self.topology.nodes[other], tuple(self.topology.linked(other))
        assert isinstance(node, AgentNode)  # no other is a peer
        return Peer(other, node.model, node.tier, node.price, linked=name in (other, *links), links=links)

    def _peers(self, name: str) -> list[Peer]:
        return [self.peer(name, other) for other in self.neighbours(name)]

    @property
    def further_models(self) -> dict[str, list[str]]:
        """By node, the references of the models that faults give it besides its own, each once."""
        found: dict[str, list[str]] = {}
        for entry in self.timeline:
            for name, reference in entry.fault.models.items() if entry.fault else ():
                found[name] = list(dict.fromkeys([*found.get(name, []), reference]))
        return found

    @property
    def model_references(self) -> list[str]:
        """The models whose files the testbed provides, each once."""
        further = (reference for references in self.further_models.values() for reference in references)
        return list(dict.fromkeys([*self.topology.model_references, *further]))

    @property
    def kinds(self) -> list[UsedKind]:
        """Every kind that the files name, each once."""
        workload = self.workload
        used = [
            *(PATTERNS.used(pattern.kind) for pattern in self.all_patterns),
            PROMPTS.used(workload.prompts.source),
            ARRIVALS.used(workload.arrivals.process),
            *(SCORERS.used(scorer.scorer) for scorer in workload.scorers),
            *(FAULTS.used(entry.kind) for entry in self.timeline if entry.fault),
            *map(NODE_KINDS.used, dict.fromkeys(node.kind for node in self.topology.nodes.values())),
            *map(MODEL_SOURCES.used, dict.fromkeys(map(scheme, self.model_references))),
            *(SENSORS.used(node.power_sensor.kind) for node in self.topology.nodes.values() if node.power_sensor),
            *(METRICS.used(name) for name in self.metric_files),
        ]
        return list(dict.fromkeys(used))

    @property
    def metric_files(self) -> list[str]:
        """The metrics of expectations that are ``FILE.py:NAME``."""
        return list(dict.fromkeys(name for entry in self.expectations for name in entry.metric_files))

    @property
    def kind_files(self) -> list[Path]:
        """The Python files of one-file kinds, whose code runs."""
        return [kind.origin.path for kind in self.kinds if isinstance(kind.origin, FileOrigin)]

    @property
    def expectations(self) -> list[Expectation]:
        """The entries of ``expect``."""
        return [expectation for _, expectation in self.placed_expectations]

    @property
    def placed_expectations(self) -> list[tuple[Loc, Expectation]]:
        """The entries of ``expect``, each with its place in the file."""
        if isinstance(self.expect, list):
            return [(("expect", number), expectation) for number, expectation in enumerate(self.expect)]
        return [(("expect",), self.expect)]

    @property
    def extent(self) -> Extent:
        """What the scenario fixes about its play in advance."""
        workload = self.workload
        seconds = workload.arrivals.seconds(workload.count, self.owners)
        last_layer = max(pattern.last_layer for pattern in self.all_patterns)
        return Extent(self.topology, workload.count, last_layer, seconds, workload.has_truths(self.seed))

    def neighbours(self, node: str) -> list[str]:
        """The nodes that ``node`` asks, in the order of the topology."""
        linked = self.pattern_of(node).reach == "linked"
        reached = self.topology.linked(node) if linked else self.topology.neighbours(node)
        return [other for other in reached if isinstance(self.topology.nodes[other], AgentNode)]

    @property
    def calls(self) -> dict[str, tuple[int, int]]:
        """The calls of a prompt if none fails, at least and at most, by owner; empty if the pattern does not say."""
        surroundings = self.surroundings
        counts = {owner: self.pattern.calls(surroundings[owner]) for owner in self.owners if owner in surroundings}
        return {owner: count for owner, count in counts.items() if count is not None}

    def drawn(self) -> "Scenario":
        """A copy whose timeline has the faults that the seed draws in place of ``random``."""
        return self.model_copy(update={"timeline": drawn(self.timeline, self.extent, self.seed)})

    @field_validator("baseline")
    @classmethod
    def _anchor_baseline(cls, baseline: str | None, info: ValidationInfo) -> str | None:
        if baseline is None:
            return None
        path = anchored(baseline, info.context)
        if not is_directory(path):
            raise ValueError(f"there is no directory {path}; name one that earlier runs have left")
        return str(path)

    @field_validator("timeline")
    @classmethod
    def _name_faults(cls, timeline: list[Entry]) -> list[Entry]:
        return named(timeline)

    @model_validator(mode="after")
    def _check(self) -> "Scenario":
        if found := list(self.mistakes()):
            raise MistakesError(found)
        return self

    def mistakes(self) -> Iterator[Mistake]:
        """Mistakes between parts of the scenario; none in one that was read from a file."""
        for node in [node for node in self.chat.nodes if node not in self.topology.agents]:
            yield ("chat", "nodes", node), f"there is no agent {node!r}; known are {', '.join(self.topology.agents)}"
        undilated = [n for n, node in self.topology.nodes.items() if isinstance(node, NodeKind) and not node.dilates]
        for name in undilated[:1] if self.dilation != 1 else []:
            kind = self.topology.nodes[name].kind
            yield ("dilation",), f"node {name!r} of the kind {kind!r} runs in real time; leave `dilation` out"
        links = [link.name for link in self.topology.resolved_links]
        for number, name in enumerate(self.capture):
            if name not in links:
                yield ("capture", number), f"there is no link {name!r}; known are {', '.join(links)}"
        yield from self._security_mistakes()
        yield from self._sensor_mistakes()
        yield from self._pattern_mistakes()
        if not self.owners:
            yield ("pattern",), "no node is left at which prompts could arrive"
            return
        yield from self._place_mistakes()
        if wrong := list(self.workload.arrivals.mistakes(self.workload.count, self.owners)):
            yield from ((("workload", "arrivals", *loc), message) for loc, message in wrong)
            return
        for loc, message in self.workload.mistakes(self.topology.nodes, self.all_patterns, self.seed):
            yield ("workload", *loc), message
        for loc, message in timeline_mistakes(self.timeline, self.extent):
            yield ("timeline", *loc), message
        known = [entry for entry in self.timeline if entry.random is None]
        for place, expectation in self.placed_expectations:
            for loc, message in expectation.mistakes(known, self.topology):
                yield (*place, *loc), message

    def _security_mistakes(self) -> Iterator[Mistake]:
        if self.security == "none":
            return
        for name, node in self.topology.nodes.items():
            if not isinstance(node, AgentNode):
                what = f"node {name!r} has no agent ({node.kind}), so it can neither sign nor encrypt"
                yield ("security",), f"{what}; write none"

    def _sensor_mistakes(self) -> Iterator[Mistake]:
        """Sensors of two nodes, whose energy would count twice, and of hardware in a run that goes slower than it."""
        seen: dict[PowerSensor, str] = {}
        for name, sensor in [(n, node.power_sensor) for n, node in self.topology.nodes.items() if node.power_sensor]:
            where = ("topology", "nodes", name, "power_sensor")
            if (other := seen.setdefault(sensor, name)) != name:
                yield where, f"measures {other!r} already, and would count twice; give it to one node"
            if self.dilation != 1:
                yield where, "measures in real time; leave it out, or leave `dilation` out"

    def _place_mistakes(self) -> Iterator[Mistake]:
        possible = self._possible_owners
        for place, node in self.workload.nodes.items():
            if node not in possible:
                yield ("workload", *place), f"prompts arrive at {', '.join(possible)}, and {node!r} is none of them"
        if SPREAD in possible:
            yield ("workload", "at"), "`spread` is all nodes, and a node has the same name; rename the node"

    def _overflows(
        self, pattern: Pattern, owners: Sequence[str], surroundings: Mapping[str, Surroundings]
    ) -> Iterator[str]:
        """The first owner whose context cannot hold the responses that its pattern quotes, and an answer."""
        most, agents = self.sampling.max_tokens, self.topology.agents
        for name in [name for name in owners if name in surroundings]:
            quoted, context = pattern.quoted(surroundings[name]), agents[name].context
            if quoted and (tokens := (quoted + 1) * most) > context:
                whole = f"with its answer, each of up to {most} tokens, they are {tokens}"
                right = f"its context holds {context}; give it more `context`, or lower `sampling.max_tokens`"
                yield f"a chat of {name!r} quotes {quoted} responses; {whole}, and {right}"
                return

    def _pattern_mistakes(self) -> Iterator[Mistake]:
        surroundings = self.surroundings
        for name in self.patterns:
            if name not in surroundings:
                yield ("patterns", name), f"there is no node {name!r}; known are {', '.join(surroundings)}"
        owners = [owner for owner in self.owners if owner in surroundings]
        placed: list[tuple[Loc, Pattern, Sequence[str]]] = [(("pattern",), self.pattern, owners)]
        placed += [(("patterns", name), own, [name]) for name, own in self.patterns.items() if name in surroundings]
        for place, pattern, nodes in placed:
            for loc, message in pattern.mistakes(surroundings, nodes):
                yield (*place, *loc), message
            yield from ((place, sentence) for sentence in self._overflows(pattern, nodes, surroundings))
            needed = pattern.peers_needed
            missing = {node: needed - len(surroundings[node].peers) for node in nodes if node in surroundings}
            for node in [node for node, lacking in missing.items() if lacking > 0][:1]:
                lacks = f"{node!r} lacks {missing[node]}; link more or ask fewer"
                yield place, f"needs {needed} neighbours for each node; {lacks}"


def load_scenario(
    path: Path, assignments: Iterable[str] = (), check: Callable[[Scenario], Iterable[Mistake]] = lambda _: ()
) -> Scenario:
    """Read a scenario and its topology and apply ``KEY=VALUE`` assignments; raises SpecError with all mistakes.

    ``check`` finds further mistakes, which the files alone do not show.
    """
    assignments = list(assignments)
    document = Document.load(path)
    if _is_topology(document.data):
        hint = f"a scenario names it: `topology: {path.name}`; to draw it: testbed topology {path}"
        raise SpecError.of(path, f"is a topology file, not a scenario; {hint}")
    override(document, [assignment for assignment in assignments if assignment.startswith("topology=")])
    if isinstance(document.data.get("topology"), str):
        document = document.include("topology")
    override(document, [assignment for assignment in assignments if not assignment.startswith("topology=")])
    scenario = document.parse(Scenario)
    if problems := [document.problem(*mistake) for mistake in check(scenario)]:
        raise SpecError(problems)
    return scenario


def _is_topology(data: Mapping[str, Any]) -> bool:
    return "nodes" in data and not data.keys() & (Scenario.model_fields.keys() - Topology.model_fields.keys())


def scenario_text(scenario: Scenario) -> str:
    """A scenario, its topology included, as a file that :func:`load_scenario` reads."""
    return yaml_text(scenario.model_dump(mode="json", exclude_none=True))


def yaml_text(dumped: dict[str, Any]) -> str:
    """A dumped scenario as YAML, without empty mappings."""
    yaml = YAML()
    yaml.default_flow_style = False
    text = StringIO()
    yaml.dump(_without_empty(dumped), text)
    return text.getvalue()


def write_scenario(scenario: Scenario, path: Path) -> None:
    """Write a file that :func:`load_scenario` reads."""
    path.write_text(scenario_text(scenario), encoding="utf-8")


def _without_empty(value: Any) -> Any:
    """A copy of ``value`` without empty mappings."""
    if not isinstance(value, dict):
        return [_without_empty(item) for item in value] if isinstance(value, list) else value
    return {key: kept for key, item in value.items() if (kept := _without_empty(item)) != {}}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file, in which the topology may also be the path of its file."""
    schema = Scenario.model_json_schema()
    schema["properties"]["topology"] = {"anyOf": [{"type": "string"}, schema["properties"]["topology"]]}
    return schema
