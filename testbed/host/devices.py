"""Emulated devices: the share of the host's CPU that makes a node as fast as the device it stands for.

A profile has the tokens per second that a real device wrote with one model. With another model the device's speed is
inversely proportional to the size of the weights, since every token reads all of them. The node computes with one
thread, whose speed on this host is measured. The node's share is the device's speed divided by the host's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from testbed.core.units import SIZE
from testbed.models.resolution import Model
from testbed.schema.network.device import Profile
from testbed.schema.network.topology import Topology

CoreSpeed = Callable[[Model, float], float]
"""Called with a model and a share of a core; returns the tokens that a node writes in a second of CPU time."""


@dataclass(frozen=True)
class Speed:
    """The speed that a node must have. ``host``: tokens that it writes in a second of CPU time on this host."""

    device: str
    profile: Profile
    model: Model
    host: float

    @property
    def asked(self) -> float:
        """Tokens per second of the device with the node's model."""
        return self.profile.speed(self.model.size)

    @property
    def cpus(self) -> float:
        """Cores of the host that give the device's speed."""
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
    """What a node has: cores of the host, by the run's clock, and memory in bytes; ``speed`` explains the cores."""

    cpus: float
    memory: int
    speed: Speed | None = None


def devices(topology: Topology, models: Mapping[str, Model], core_speed: CoreSpeed) -> dict[str, Device]:
    """The device of every emulated node, by its name."""
    found = {}
    for name, node in topology.emulated.items():
        if node.cpus is not None:
            found[name] = Device(node.cpus, node.memory)
        else:
            assert node.device is not None  # what has neither is no valid node
            speed = _speed(node.device, topology.profiles[node.device], models[name], core_speed)
            found[name] = Device(speed.cpus, node.memory, speed)
    return found


def _speed(name: str, profile: Profile, model: Model, core_speed: CoreSpeed) -> Speed:
    """The speed of a node. Below one core it is measured at about the node's share, since a share costs speed."""
    alone = Speed(name, profile, model, core_speed(model, 1.0))
    if alone.cpus >= 1:
        return alone
    return replace(alone, host=max(alone.asked, core_speed(model, alone.cpus)))
