"""Metrics of what prompts cost on each tier: tokens, money and energy of the nodes that worked.

What the topology does not say has no value: tiers for the share that is offloaded, prices for cost, power for energy.
"""

from collections.abc import Callable, Sequence

from testbed.analysis.measurements import Part
from testbed.patterns.participant import Tier
from testbed.schema.metric import Metric, metric


@metric("%", counted=True, rank=30)
def offload(part: Part) -> float | None:
    """Share of prompts for which a node on another tier than the owner's was given a call."""
    tiers = {name: node.tier for name, node in part.run.nodes.items() if node.tier is not None}
    owners = {prompt: part.run.prompts[prompt]["owner"] for prompt in part.prompts}
    if not owners or len(tiers) < len(part.run.nodes) or not tiers:
        return None
    asked = {(job.prompt, job.node) for job in part.run.jobs if job.prompt in owners}
    away = {prompt for prompt, node in asked if tiers[node] != tiers[owners[prompt]]}
    return len(away) / len(owners)


def _tokens(part: Part, nodes: Sequence[str]) -> float | None:
    """Tokens that models read and wrote."""
    ends = [event for event in part.of("end") if event["node"] in nodes]
    return float(sum(event["prompt_tokens"] + event["tokens"] for event in ends))


def _cost(part: Part, nodes: Sequence[str]) -> float | None:
    """Price of the tokens that models read and wrote, in the currency of the topology's prices."""
    prices = {name: price for name in nodes if (price := part.run.nodes[name].price) is not None}
    if not prices:
        return None
    ends = [event for event in part.of("end") if event["node"] in prices]
    return sum(prices[event["node"]].of(event["prompt_tokens"], event["tokens"]) for event in ends)


def _energy(part: Part, nodes: Sequence[str]) -> float | None:
    """Upper bound of the energy of inferences: peak power times the seconds in which a node worked on any."""
    powers = {name: power for name in nodes if (power := part.run.nodes[name].power) is not None}
    return sum(power * _busy_seconds(part, name) for name, power in powers.items()) if powers else None


def _busy_seconds(part: Part, node: str) -> float:
    """Seconds in which a node worked on at least one inference."""
    begin, end = part.run.span(part.scope)
    begun = [job for job in part.run.jobs if job.node == node and job.started is not None]
    busy, until = 0.0, begin
    for start, stop in sorted(job.inference(end) for job in begun):
        busy += max(0.0, min(stop, end) - max(start, until))
        until = max(until, stop)
    return busy


_Measure = Callable[[Part, Sequence[str]], float | None]


def _of(measure: _Measure, tier: Tier | None, unit: str, rank: int, *, counted: bool) -> Metric:
    """The metric of all nodes of a tier, or of all nodes; None where there are no such nodes."""

    def measured(part: Part) -> float | None:
        known = part.run.nodes.items()
        nodes = [name for name, node in known if part.scope.has(name) and tier in (None, node.tier)]
        return measure(part, nodes) if nodes else None

    measured.__doc__ = f"{str(measure.__doc__).rstrip('.')}; on the tier {tier}." if tier else measure.__doc__
    return metric(unit, "lower", counted=counted, rank=rank)(measured)


cost = _of(_cost, None, "", 31, counted=True)
cost_device = _of(_cost, "device", "", 32, counted=True)
cost_edge = _of(_cost, "edge", "", 33, counted=True)
cost_cloud = _of(_cost, "cloud", "", 34, counted=True)
tokens_device = _of(_tokens, "device", "", 35, counted=True)
tokens_edge = _of(_tokens, "edge", "", 36, counted=True)
tokens_cloud = _of(_tokens, "cloud", "", 37, counted=True)
energy = _of(_energy, None, "J", 38, counted=False)
energy_device = _of(_energy, "device", "J", 39, counted=False)
energy_edge = _of(_energy, "edge", "J", 40, counted=False)
energy_cloud = _of(_energy, "cloud", "J", 41, counted=False)
