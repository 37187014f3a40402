"""What nodes are emulated as: how much of the host's CPU makes a node as fast as the device that it stands for.

A profile says how fast a real device wrote with a certain model. With another one it is as much faster or slower as
that has fewer or more bytes, all of which are read for each token. The node computes with one thread. How fast that is
on this host is measured, and the node's share is the one divided by the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from testbed.core.units import SIZE
from testbed.models.resolution import Model
from testbed.schema.network.device import Profile
from testbed.schema.network.topology import Topology

CoreSpeed = Callable[[Model, float], float]
"""Tells the tokens that a node with a share of a core writes with a model in a second of CPU time."""


@dataclass(frozen=True)
class Speed:
    """How fast a node is to be as its device, and ``host``: the tokens that it writes in a second of a core's time."""

    device: str
    profile: Profile
    model: Model
    host: float

    @property
    def asked(self) -> float:
        """Tokens a second that the device writes with the node's model."""
        return self.profile.speed(self.model.size)

    @property
    def cpus(self) -> float:
        """Cores of the host that write as many."""
        return self.asked / self.host

    def __str__(self) -> str:
        profile = self.profile
        return (
            f"{self.device} writes {profile.tokens_per_second:g} tokens/s with {profile.model}, so "
            f"{profile.tokens_per_second:g} × {SIZE.readable(profile.weights)} ÷ {SIZE.readable(self.model.size)} = "
            f"{self.asked:.4g} with {self.model.reference}, and a core of this host writes {self.host:.4g}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "profile": self.device,
            "published": {
                "tokens_per_second": self.profile.tokens_per_second,
                "model": self.profile.model,
                "weights": self.profile.weights,
                "source": self.profile.source,
            },
            "weights": self.model.size,
            "asked_tokens_per_second": self.asked,
            "host_tokens_per_second": self.host,
        }


@dataclass(frozen=True)
class Device:
    """What a node has: cores of the host, by the run's clock, and bytes of memory. ``speed`` is why, if it has one."""

    cpus: float
    memory: int
    speed: Speed | None = None


def devices(topology: Topology, models: Mapping[str, Model], core_speed: CoreSpeed) -> dict[str, Device]:
    """What every node is emulated as."""
    found = {}
    for name, node in topology.nodes.items():
        if node.cpus is not None:
            found[name] = Device(node.cpus, node.memory)
        else:
            assert node.device is not None  # what has neither is no valid node
            speed = _speed(node.device, topology.profiles[node.device], models[name], core_speed)
            found[name] = Device(speed.cpus, node.memory, speed)
    return found


def _speed(name: str, profile: Profile, model: Model, core_speed: CoreSpeed) -> Speed:
    """A node that needs less than a core of its own is measured with about the share that it gets; one at most."""
    alone = Speed(name, profile, model, core_speed(model, 1.0))
    if alone.cpus >= 1:
        return alone
    return replace(alone, host=max(alone.asked, core_speed(model, alone.cpus)))
