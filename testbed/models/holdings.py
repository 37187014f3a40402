"""What each node of a scenario holds: a model of its own, or one stage of a ring's model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from testbed.core.units import SIZE
from testbed.models.anatomy import dissect
from testbed.models.chats import check_chat
from testbed.models.planner import Load, Member, Placement, place
from testbed.models.resolution import (
    AGENT_MEMORY,
    Fetching,
    Model,
    ModelError,
    check_node,
    find,
    has_random_weights,
    mebibytes,
    resolve,
    resolve_models,
    untold,
)
from testbed.models.split import split
from testbed.node import config as places
from testbed.node.ring.wire.activations import ENCODINGS
from testbed.patterns.pipeline import Pipeline
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake
from testbed.schema.scenario import Scenario

Report = Callable[[str], None]


@dataclass(frozen=True)
class Holding:
    """The files of a node's model: paths on the host by path inside the node.

    ``reason`` says which layers a stage has, and why; it is empty for a whole model.
    """

    files: Mapping[Path, Path]
    reason: str = ""


def resolve_all(scenario: Scenario, fetching: Fetching = untold) -> dict[str, Model]:
    """The models by node; nodes of a ring share one. Raises ModelError if a model cannot be found or held."""
    nodes, ring = scenario.topology.model_nodes, _ring(scenario)
    models = resolve_models({name: node for name, node in nodes.items() if name not in ring}, fetching)
    models = {name: models[name] if name in models else resolve(node.model, fetching) for name, node in nodes.items()}
    for name in [name for name in nodes if name not in ring[1:]]:  # of a ring, the head alone reads chats
        check_chat(models[name], scenario.chat.at(name), nodes[name].context)
    return models


def given_files(scenario: Scenario, fetching: Fetching = untold) -> dict[str, dict[Path, Model]]:
    """By node, the models that it has besides its own, by where they lie inside it.

    Raises ModelError for one in several parts, and where a node cannot hold those that faults give it.
    """
    nodes, further = scenario.topology.nodes, scenario.further_models
    found = {
        name: {Path(inside): resolve(reference, fetching) for inside, reference in node.given_models.items()}
        for name, node in nodes.items()
    }
    for name, references in further.items():
        models = [resolve(reference, fetching) for reference in references]
        _check_together(name, scenario, models)
        found[name] = {places.FURTHER / f"{number}.gguf": model for number, model in enumerate(models)}
    for model in [model for models in found.values() for model in models.values() if model.further_parts]:
        raise ModelError(f"{model.reference} is a model in several parts, which a node cannot be given; join them")
    return {name: models for name, models in found.items() if models}


def _check_together(name: str, scenario: Scenario, further: Sequence[Model]) -> None:
    """Raise ModelError if the node cannot hold these models besides its own, or one cannot take its chats."""
    node, cap = scenario.topology.model_nodes[name], scenario.topology.emulated[name].memory
    own = find(node.model)
    for model in further:
        check_chat(model, scenario.chat.at(name), node.context)
    needed = AGENT_MEMORY + sum(model.memory_of_model(node.context) for model in (own, *further) if model is not None)
    if needed > cap:
        names = " and ".join([node.model, *(model.reference for model in further)])
        raise ModelError(
            f"node {name!r} cannot hold {names} at once: {mebibytes(needed)} MiB, and its memory is "
            f"{SIZE.format(cap)}; give it more or take a smaller model"
        )


def provide(
    scenario: Scenario, models: Mapping[str, Model], cpus: Mapping[str, float], report: Report
) -> dict[str, Holding]:
    """The holdings by node, with files written unless they exist; raises ModelError if a ring cannot hold its model.

    ``cpus`` are cores by node; ``report`` is told what was chosen, and why.
    """
    holdings = {name: Holding(_mounted(model)) for name, model in models.items()}
    if isinstance(scenario.pattern, Pipeline):
        head = scenario.pattern.ring[0]
        holdings |= _RingPlanner(models[head], scenario.topology, scenario.pattern, cpus).provide(report)
    return holdings


def model_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Models that cannot be found or held, with their places in the file. Fetches and writes nothing.

    And what nobody can judge: the answers of random weights.
    """
    topology, ring = scenario.topology, _ring(scenario)
    for name, node in topology.model_nodes.items():
        try:
            model = find(node.model) if name in ring else check_node(name, node)
            if model is not None and name not in ring:
                check_chat(model, scenario.chat.at(name), node.context)
        except ModelError as error:
            yield ("topology", "nodes", name, "model"), str(error)
    if isinstance(scenario.pattern, Pipeline):
        yield from _ring_mistakes(scenario, scenario.pattern)
    yield from _given_mistakes(topology)
    yield from _further_mistakes(scenario)
    random = [model for model in scenario.model_references if has_random_weights(model)]
    for where, expectation in scenario.placed_expectations:
        if random and "accuracy" in expectation.bounds:
            sentence = f"{random[0]} has random weights, whose answers are neither right nor wrong; leave this out"
            yield (*where, "accuracy"), sentence


def _given_mistakes(topology: Topology) -> Iterator[Mistake]:
    for name, node in topology.nodes.items():
        for inside, reference in node.given_models.items():
            try:
                find(reference)
            except ModelError as error:
                yield ("topology", "nodes", name, "models", inside), str(error)


def _further_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Models of the timeline that cannot be found or held; a stage of a ring cannot be swapped."""
    for number, entry in enumerate(scenario.timeline):
        for name, reference in entry.fault.models.items() if entry.fault else ():
            if name in _ring(scenario):
                yield ("timeline", number, entry.kind), f"node {name!r} holds a stage of a ring's model; name another"
                continue
            try:
                if (model := find(reference)) is not None:
                    _check_together(name, scenario, [model])
            except ModelError as error:
                yield ("timeline", number, entry.kind, "model"), str(error)


def _mounted(model: Model) -> dict[Path, Path]:
    """The files of a whole model by path inside the node."""
    files = [model.path, *model.further_parts]
    return dict(zip(places.model_files(len(files)), (path.resolve() for path in files), strict=True))


def _ring(scenario: Scenario) -> Sequence[str]:
    return scenario.pattern.ring if isinstance(scenario.pattern, Pipeline) else ()


def _ring_mistakes(scenario: Scenario, pattern: Pipeline) -> Iterator[Mistake]:
    nodes = scenario.topology.model_nodes
    if strangers := [number for number, name in enumerate(pattern.ring) if name not in scenario.topology.emulated]:
        kind = scenario.topology.nodes[pattern.ring[strangers[0]]].kind
        yield ("pattern", "ring", strangers[0]), f"is of kind {kind!r}, which holds no layers; name another node"
        return
    head, *others = pattern.ring
    first = nodes[head]
    for name in pattern.ring:
        for key in ("slots", "prefix_cache"):
            if key in nodes[name].model_fields_set:
                reason = "is for nodes with a whole model; a ring has `samples` of its pattern in flight"
                yield ("topology", "nodes", name, key), reason
    for name in others:
        node = nodes[name]
        for key, value, right in (("model", node.model, first.model), ("context", node.context, first.context)):
            if value != right:
                where = ("topology", "nodes", name, key)
                yield where, f"is {value}, and that of {head!r} is {right}; the nodes of a ring have the same"
    with suppress(ModelError):  # which is another mistake, at the node
        if (model := find(first.model)) is not None:
            yield from _split_mistakes(model, scenario, pattern)


def _split_mistakes(model: Model, scenario: Scenario, pattern: Pipeline) -> Iterator[Mistake]:
    topology, head = scenario.topology, pattern.ring[0]
    try:
        check_chat(model, scenario.chat.at(head), topology.model_nodes[head].context)
        _RingPlanner(model, topology, pattern, dict.fromkeys(topology.nodes, 1.0)).place(pattern.split)
    except ModelError as error:
        yield ("pattern",), str(error)


class _RingPlanner:
    """The holdings of one ring."""

    def __init__(self, model: Model, topology: Topology, pattern: Pipeline, cpus: Mapping[str, float]) -> None:
        """Raises ModelError if ``model`` cannot be split."""
        self._model = model
        self._topology = topology
        self._pattern = pattern
        self._cpus = cpus
        self._anatomy = dissect(model)
        self._row_bytes = ENCODINGS[pattern.activations].row_bytes(self._anatomy.width)

    def provide(self, report: Report) -> dict[str, Holding]:
        """The holdings by node. With take-over they include the files for the loss of each other node."""
        ring = self._pattern.ring
        placement = self.place(self._pattern.split)
        reasons = placement.explain()
        for name, reason in reasons.items():
            report(f"{name} holds {reason}")
        parts = split(self._model, placement.plan)
        files = {name: {places.MODEL: stage.path} for name, stage in zip(ring, parts.stages, strict=True)}
        files[ring[0]][places.FRONT] = parts.front
        for lost in ring[1:] if self._pattern.take_over is not None else []:
            for name, path in self._without(lost, report).items():
                files[name][places.WITHOUT / f"{lost}.gguf"] = path
        return {name: Holding(files[name], reasons[name]) for name in ring}

    def place(self, layers: Sequence[int] | None, missing: str | None = None) -> Placement:
        """The placement of the layers, without the node ``missing``; raises ModelError if they do not fit."""
        ring = [name for name in self._pattern.ring if name != missing]
        members = [self._member(name, ring[(number + 1) % len(ring)]) for number, name in enumerate(ring)]
        groups, batch = self._pattern.places
        context = self._topology.model_nodes[ring[0]].context
        load = Load(groups * batch, context, max(batch, self._pattern.chunk))
        return place(self._model.reference, self._anatomy, members, load, layers)

    def _without(self, lost: str, report: Report) -> dict[str, Path]:
        """The files of the other nodes without ``lost``, by node; empty if they cannot hold its layers."""
        try:
            placement = self.place(None, missing=lost)
        except ModelError as error:
            report(f"{lost} cannot be done without: {error}")
            return {}
        report(f"without {lost} the layers are {placement.plan}")
        stages = split(self._model, placement.plan).stages
        return {held.member.name: stage.path for held, stage in zip(placement.stages, stages, strict=True)}

    def _member(self, name: str, following: str) -> Member:
        seconds = _seconds(self._topology, name, following, self._row_bytes)
        return Member(name, self._topology.emulated[name].memory, self._cpus[name], seconds)


def _seconds(topology: Topology, source: str, target: str, size: int) -> float:
    """Seconds of ``size`` bytes from one node to another over idle links."""
    total, here = 0.0, source
    for link in topology.route(source, target):
        direction = link.up if here == link.a else link.down
        total += direction.delay + size * 8 / direction.rate
        here = link.b if here == link.a else link.a
    return total
