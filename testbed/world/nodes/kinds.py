"""What does not fit the kinds of a scenario's nodes."""

from collections.abc import Iterator

from testbed.schema.explain import Mistake
from testbed.schema.scenario import Scenario
from testbed.world.nodes.handle import NODE_KINDS


def kind_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Kinds that are not registered, and faults that a node's kind cannot suffer; places are those in the file."""
    nodes = scenario.topology.nodes
    for name, node in nodes.items():
        if node.kind not in NODE_KINDS:
            known = ", ".join(NODE_KINDS.names())
            yield ("topology", "nodes", name, "kind"), f"there is no node kind {node.kind!r}; known are {known}"
    for index, entry in enumerate(scenario.timeline):
        for name, field in entry.fault.demands() if entry.fault else ():
            kind = nodes[name].kind if name in nodes else "container"
            if kind in NODE_KINDS and field not in NODE_KINDS.get(kind).suffers:
                reason = f"node {name!r} is of kind {kind!r}, which cannot suffer `{entry.kind}`; name another node"
                yield ("timeline", index, entry.kind), reason
