"""Heartbeats over the emulated network: each message of :mod:`.swim` is a UDP datagram in JSON."""

import asyncio
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from testbed.core import seeds
from testbed.node.config import HEARTBEAT_PORT, NodeConfig
from testbed.node.event_log import EventWriter
from testbed.node.membership.swim import Alive, Change, Heartbeat, Lost, Membership, Send, Step, Suspected
from testbed.node.transport.datagrams import Datagrams
from testbed.node.transport.door import Door
from testbed.patterns.protocol import MembershipOptions

_EVENTS: Final = {Alive: "neighbour_back", Suspected: "neighbour_suspected", Lost: "neighbour_lost"}


class Heartbeats:
    """A view of the neighbours by their heartbeats. It answers pings at once, and sends its own after :meth:`begin`."""

    def __init__(self, config: NodeConfig, options: MembershipOptions, log: EventWriter, door: Door) -> None:
        self._address = config.address
        self._addresses = config.neighbours
        draw = seeds.stream(config.seed, "membership", config.name)
        self._membership = Membership(config.name, list(config.neighbours), options, draw)
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._datagrams = Datagrams(self._receive, door)
        self._losses = {neighbour: asyncio.Event() for neighbour in config.neighbours}

    async def listen(self) -> None:
        """Bind the socket; raises OSError."""
        await self._datagrams.open(self._address, HEARTBEAT_PORT)

    def begin(self) -> None:
        """Send pings from now on."""
        if self._timer is None:
            self._tick()

    def close(self) -> None:
        """Send nothing from now on, and close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._datagrams.close()

    def present(self) -> Sequence[str]:
        """The neighbours that are neither suspected nor lost."""
        return [name for name in self._addresses if isinstance(self._membership.state(name), Alive)]

    def suspect(self, neighbour: str) -> None:
        """Ping a neighbour that did not answer a request. It counts as suspected until it answers the ping."""
        self._carry_out(self._membership.suspect(neighbour, self._loop.time()))

    async def gone(self, neighbour: str) -> None:
        """Wait until a neighbour counts as lost."""
        await self._losses[neighbour].wait()

    def _receive(self, data: bytes, sender: str | None) -> None:
        try:
            message = Heartbeat.model_validate_json(data)
        except ValidationError:
            return
        if sender not in (None, message.source):
            self._log.emit("impersonated", peer=sender, said=message.source)
            return
        self._carry_out(self._membership.receive(message, self._loop.time()))

    def _tick(self) -> None:
        self._timer = None
        self._carry_out(self._membership.tick(self._loop.time()))
        self._timer = self._loop.call_at(self._membership.due, self._tick)

    def _carry_out(self, step: Step) -> None:
        for action in step:
            match action:
                case Send(to, message):
                    self._datagrams.send(message.model_dump_json().encode(), self._addresses[to], HEARTBEAT_PORT)
                case Change(neighbour, state):
                    self._note(neighbour, state)
        if self._timer is not None:  # it has begun, and may be due sooner now
            self._timer.cancel()
            self._timer = self._loop.call_at(self._membership.due, self._tick)

    def _note(self, neighbour: str, state: Alive | Suspected | Lost) -> None:
        self._log.emit(_EVENTS[type(state)], peer=neighbour)
        if isinstance(state, Lost):
            self._losses[neighbour].set()
        else:
            self._losses[neighbour].clear()
