"""What the nodes of a scenario hold: a model of their own, or as a ring the stages of one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.models.anatomy import dissect
from testbed.models.planner import Device, Load, Placement, place
from testbed.models.source import Model, ModelError, check_reference, is_remote, resolve, resolve_models
from testbed.models.split import split
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
    placement = _place(model, topology, pattern)
    reasons = placement.explain()
    for name, reason in reasons.items():
        report(f"{name} holds {reason}")
    parts = split(model, placement.plan)
    holdings = {}
    for name, stage in zip(pattern.ring, parts.stages, strict=True):
        front = {places.FRONT: parts.front} if name == pattern.ring[0] else {}
        holdings[name] = Holding(model, {places.MODEL: stage.path, **front}, stage.layers, reasons[name])
    return holdings


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
            _place(resolve(first.model), topology, pattern)
        except ModelError as error:
            yield ("pattern",), str(error)


def _place(model: Model, topology: Topology, pattern: Pipeline) -> Placement:
    """Where the layers go; raises ModelError if they do not fit."""
    anatomy = dissect(model)
    row_bytes = ENCODINGS[pattern.activations].row_bytes(anatomy.width)
    devices = []
    for number, name in enumerate(pattern.ring):
        node, following = topology.nodes[name], pattern.ring[(number + 1) % len(pattern.ring)]
        devices.append(Device(name, node.memory, node.cpus, _seconds(topology, name, following, row_bytes)))
    groups, batch = pattern.places
    load = Load(groups * batch, topology.nodes[pattern.ring[0]].context, max(batch, pattern.chunk))
    return place(model.reference, anatomy, devices, load, pattern.split)


def _seconds(topology: Topology, source: str, target: str, size: int) -> float:
    """What ``size`` bytes take from one node to another over idle links."""
    total, here = 0.0, source
    for link in topology.route(source, target):
        way = link.up if here == link.a else link.down
        total += way.delay + size * 8 / way.rate
        here = link.b if here == link.a else link.a
    return total
