"""A node that is a device behind an interface of this host, about which nothing else is known."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from testbed.faults.api import Condition
from testbed.host.namespace import Namespace
from testbed.patterns.participant import JobError, Prompt
from testbed.world.hardware.entries import Cabled
from testbed.world.hardware.stand_in import BRIDGE, StandIn
from testbed.world.network.routes import SUBNET
from testbed.world.nodes.handle import ClockOffset, Event, Exit, PlannedNode, Session, Site, Usage, WorldError

_ANSWERS: Final = 5.0  # seconds; a port of a switch may need some before it forwards


def start_devices(site: Site, nodes: Mapping[str, PlannedNode]) -> dict[str, "DeviceNode"]:
    """Take the interface of every node from the host.

    Raises HostError if the host needs it, and WorldError if the device behind it does not have the node's address.
    """
    return {name: _start(site, planned) for name, planned in nodes.items()}


def _start(site: Site, planned: PlannedNode) -> "DeviceNode":
    assert isinstance(planned.spec, Cabled)
    stand_in = StandIn.make(site.journal, planned.name, planned.spec.interface, planned.address)
    mac = stand_in.answering(planned.address, _ANSWERS)
    if mac is None:
        raise WorldError(
            f"node {planned.name!r}: nothing behind interface {planned.spec.interface!r} answers for "
            f"{planned.address}; on the device: ip address add {planned.address}/{SUBNET.prefixlen} dev INTERFACE"
        )
    stand_in.admit(mac)
    return DeviceNode(planned.name, stand_in)


class DeviceNode:
    """A device. It is there for as long as the run, it takes no prompts, and it has no events."""

    bridge = BRIDGE
    cores: frozenset[int] = frozenset()
    clock_offset = ClockOffset()
    exits: Sequence[Exit] = ()
    ended = False
    started_by_others = False

    def __init__(self, name: str, stand_in: StandIn) -> None:
        self.name = name
        self.namespace: Namespace = stand_in.namespace

    def session(self) -> AbstractAsyncContextManager[Session]:
        """A session in which nothing happens."""
        return nullcontext(DeviceSession(self.name))

    def exit(self) -> Exit | None:
        """Nobody can tell whether a device has ended."""
        return None

    def logs(self) -> bytes:
        """What a device prints stays there."""
        return b""

    def usage(self) -> Usage | None:
        """Nobody can tell."""
        return None

    def change(self, before: Condition, after: Condition) -> None:
        """Do nothing: the world sees to power and deafness, which are all that such a node suffers."""

    def start_again(self) -> int | None:
        """Faults do not end such a node."""
        raise WorldError(f"node {self.name!r} cannot be started")

    def close(self) -> None:
        """Do nothing: no process is held."""


class DeviceSession:
    """A session with a device that runs no agent."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def ready(self) -> None:
        """It answered when its interface was taken."""

    async def reach(self) -> Mapping[str, float | None]:
        """It has no neighbours of its own to reach."""
        return {}

    async def answer(self, prompt: Prompt) -> str:  # noqa: ARG002
        """Raises JobError."""
        raise JobError(f"{self._name} runs no agent")

    async def events(self, every: float) -> AsyncIterator[Sequence[Event]]:  # noqa: ARG002
        """None, for ever."""
        await asyncio.Event().wait()
        yield ()

    async def last_events(self) -> Sequence[Event]:
        """None."""
        return ()
