"""What the nodes of a scenario hold: a model of their own, or as a ring the stages of one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.models.anatomy import dissect
from testbed.models.planner import Device, Load, Placement, place
from testbed.models.source import Model, ModelError, check_reference, is_remote, resolve, resolve_models
from testbed.models.split import split as cut
from testbed.node import config as places
from testbed.node.ring.activations import ENCODINGS
from testbed.patterns import Pipeline
from testbed.spec.explain import Mistake
from testbed.spec.scenario import Scenario
from testbed.spec.topology import Topology


@dataclass(frozen=True)
class Holding:
    """What one node holds: its model or a stage of it (then ``layers`` says which), and where its files lie on the host
    by where they lie inside the node. ``reason`` says what of a model it is, and why."""

    model: Model
    files: Mapping[Path, Path]
    layers: range | None = None
    reason: str = ""


def provide(scenario: Scenario, report: Callable[[str], None]) -> dict[str, Holding]:
    """Every node's holding, written if it is not there yet; raises ModelError for what cannot be had or held.

    ``report`` is told of what takes time, and of what was chosen and why.
    """
    alone = {name: node for name, node in scenario.topology.nodes.items() if name not in _ring(scenario)}
    models = resolve_models(alone)
    holdings = {name: Holding(model, {places.MODEL: model.path}) for name, model in models.items()}
    if isinstance(scenario.pattern, Pipeline):
        holdings |= _provide_ring(scenario.topology, scenario.pattern, report)
    return {name: holdings[name] for name in scenario.topology.nodes}


def model_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """What :func:`provide` would refuse, and where it stands in the file; fetches and writes nothing."""
    ring = _ring(scenario)
    for name, node in scenario.topology.nodes.items():
        try:
            check_reference(node.model)
            if name not in ring and not is_remote(node.model):
                resolve_models({name: node})
        except ModelError as error:
            yield ("topology", "nodes", name, "model"), str(error)
    if isinstance(scenario.pattern, Pipeline):
        yield from _ring_mistakes(scenario.topology, scenario.pattern)


def _ring(scenario: Scenario) -> Sequence[str]:
    return scenario.pattern.ring if isinstance(scenario.pattern, Pipeline) else ()


def _provide_ring(topology: Topology, pattern: Pipeline, report: Callable[[str], None]) -> dict[str, Holding]:
    model = resolve(topology.nodes[pattern.ring[0]].model)
    placement = _place(model, topology, pattern, pattern.ring, pattern.split)
    reasons = placement.explain()
    for name, reason in reasons.items():
        report(f"{name} holds {reason}")
    parts = cut(model, placement.plan)
    files = {name: {places.MODEL: stage.path} for name, stage in zip(pattern.ring, parts.stages, strict=True)}
    files[pattern.ring[0]][places.FRONT] = parts.front
    for lost in pattern.ring[1:] if pattern.take_over is not None else []:
        for name, path in _without(lost, model, topology, pattern, report).items():
            files[name][places.WITHOUT / f"{lost}.gguf"] = path
    return {
        name: Holding(model, files[name], stage.layers, reasons[name])
        for name, stage in zip(pattern.ring, parts.stages, strict=True)
    }


def _without(
    lost: str, model: Model, topology: Topology, pattern: Pipeline, report: Callable[[str], None]
) -> dict[str, Path]:
    """The files of the other nodes of a ring if one is lost; none where they have no room for its layers."""
    left = [name for name in pattern.ring if name != lost]
    try:
        plan = _place(model, topology, pattern, left, split=None).plan
    except ModelError as error:
        report(f"{lost} cannot be done without: {error}")
        return {}
    report(f"without {lost}: layers {plan} on {', '.join(left)}")
    return {name: stage.path for name, stage in zip(left, cut(model, plan).stages, strict=True)}


def _ring_mistakes(topology: Topology, pattern: Pipeline) -> Iterator[Mistake]:
    head, *others = pattern.ring
    first = topology.nodes[head]
    for name in others:
        node = topology.nodes[name]
        for key, value, right in (("model", node.model, first.model), ("context", node.context, first.context)):
            if value != right:
                where = ("topology", "nodes", name, key)
                yield where, f"is {value}, and that of {head!r} is {right}; the nodes of a ring have the same"
    if not is_remote(first.model):
        try:
            _place(resolve(first.model), topology, pattern, pattern.ring, pattern.split)
        except ModelError as error:
            yield ("pattern",), str(error)


def _place(
    model: Model, topology: Topology, pattern: Pipeline, ring: Sequence[str], split: Sequence[int] | None
) -> Placement:
    """Where the layers go on these nodes; raises ModelError if they do not fit."""
    anatomy = dissect(model)
    row_bytes = ENCODINGS[pattern.activations].row_bytes(anatomy.width)
    devices = []
    for number, name in enumerate(ring):
        node, following = topology.nodes[name], ring[(number + 1) % len(ring)]
        devices.append(Device(name, node.memory, node.cpus, _seconds(topology, name, following, row_bytes)))
    groups, batch = pattern.places
    load = Load(groups * batch, topology.nodes[ring[0]].context, max(batch, pattern.chunk))
    return place(model.reference, anatomy, devices, load, split)


def _seconds(topology: Topology, source: str, target: str, size: int) -> float:
    """What ``size`` bytes take from one node to another over idle links."""
    total, here = 0.0, source
    for link in topology.route(source, target):
        way = link.up if here == link.a else link.down
        total += way.delay + size * 8 / way.rate
        here = link.b if here == link.a else link.a
    return total
