"""The power of a device goes."""

import random
from collections.abc import Iterator
from typing import Any

from testbed.faults.base import ConditionFault
from testbed.schema.network.sensor import PowerSwitch
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake


class Unplug(ConditionFault):
    """The smart plug that is a node's `power_sensor` takes its power away, and gives it back afterwards. The device
    then starts as it does after a power failure. Chaos never draws this fault."""

    def condition(self) -> dict[str, Any]:
        """There is no power."""
        return {"powered": False}

    def mistakes(self, topology: Topology) -> Iterator[Mistake]:
        """An unknown node, or one without a plug."""
        yield from super().mistakes(topology)
        node = topology.nodes.get(self.node)
        if node is not None and not isinstance(node.power_sensor, PowerSwitch):
            yield ("node",), f"node {self.node!r} has no smart plug; name one as its `power_sensor`, like tasmota"

    @classmethod
    def draw(cls, topology: Topology, chance: random.Random) -> dict[str, Any] | None:
        """None: a power failure can harm a device, so somebody must have asked for it."""
        del topology, chance
        return None
