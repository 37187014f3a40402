"""One call on its way: from the node that makes it, over the links if another node does it, and back."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from testbed.patterns.participant import Completion, JobError, Peer
from testbed.schema.scenario import Scenario
from testbed.simulation.calibration import LegName
from testbed.simulation.loop import VirtualLoop
from testbed.simulation.network import Network
from testbed.simulation.node import Emit, Job, SimulatedNode
from testbed.simulation.sources import Source

SHORT: Final = 100
"""Bytes of a message without a chat: a ping, a cancellation."""


@dataclass(frozen=True)
class Place:
    """A node, and what a prompt finds around it. ``devices`` are :func:`.calibration.device_of` all nodes."""

    scenario: Scenario
    node: SimulatedNode
    nodes: Mapping[str, SimulatedNode]
    devices: Mapping[str, str]
    itself: Peer
    peers: Sequence[Peer]
    loop: VirtualLoop
    network: Network
    source: Source
    emit: Emit


class Exchange:
    """A call that begins at once. ``outcome`` is its completion, or a JobError."""

    def __init__(self, place: Place, at: SimulatedNode, job: Job) -> None:
        self._place = place
        self._at = at
        self._job = job
        self.outcome: asyncio.Future[Completion] = place.loop.create_future()
        job.settle = self._end_own if job.own else self._respond
        if job.own:
            place.loop.call_later(max(0.0, self._leg("local", at)), at.enqueue, job)
        else:
            self._request()

    def expire(self, seconds: float) -> None:
        """The time of the call is over. A job that has begun runs to its end."""
        if self.outcome.done():
            return
        reason = f"no answer within {seconds:g}s"
        if not self._job.own:
            self._trouble("ask_failed", reason=reason)
        self._at.cancel(self._job.name, "its deadline has passed")
        self.outcome.set_exception(JobError(f"{self._at.name}: {reason}"))

    def give_up(self) -> None:
        """Nobody waits for the call any more: it leaves the queue once the node knows, unless it has begun."""
        place, told = self._place, self._place.loop.time()
        if not self._job.own:
            self._trouble("cancel")
            told = place.network.carry(place.node.name, self._at.name, SHORT, told)
        place.loop.call_at(told, self._at.cancel, self._job.name, "cancelled")

    def _request(self) -> None:
        place, job = self._place, self._job
        size = place.source.size("request", job.kind)
        place.emit(place.node.name, "send", message=f"{job.name}/request", peer=self._at.name, bytes=size)
        self._carry(size, place.node, self._at, "request", self._receive)

    def _receive(self, size: int) -> None:
        message, peer = f"{self._job.name}/request", self._place.node.name
        self._place.emit(self._at.name, "receive", message=message, peer=peer, bytes=size)
        self._at.enqueue(self._job)

    def _respond(self, outcome: Completion | JobError) -> None:
        """The response, unless its asker has hung up."""
        place = self._place
        size = SHORT if isinstance(outcome, JobError) else place.source.size("response", self._job.kind)
        event = "late" if self.outcome.done() else "send"
        message = f"{self._job.name}/response"
        place.emit(self._at.name, event, message=message, peer=place.node.name, bytes=size)
        if event == "send":
            self._carry(size, self._at, place.node, "response", self._return, outcome)

    def _return(self, size: int, outcome: Completion | JobError) -> None:
        if self.outcome.done():
            return
        message, peer = f"{self._job.name}/response", self._at.name
        self._place.emit(self._place.node.name, "receive", message=message, peer=peer, bytes=size)
        if isinstance(outcome, JobError):
            self._trouble("ask_failed", reason=str(outcome))
            outcome = JobError(f"{peer}: {outcome}")
        self._settle(outcome)

    def _end_own(self, outcome: Completion | JobError) -> None:
        if not self.outcome.done():
            self._settle(outcome)

    def _settle(self, outcome: Completion | JobError) -> None:
        if isinstance(outcome, JobError):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)

    def _carry(
        self,
        size: int,
        source: SimulatedNode,
        target: SimulatedNode,
        leg: LegName,
        arrived: Callable[..., None],
        *more: object,
    ) -> None:
        """Have ``arrived`` called with ``size`` and ``more`` once ``target`` has handled a message."""
        loop = self._place.loop
        over = self._place.network.carry(source.name, target.name, size, loop.time())
        loop.call_at(over + self._leg(leg, target), arrived, size, *more)

    def _leg(self, name: LegName, at: SimulatedNode) -> float:
        return self._place.source.leg(name, self._job.kind.role, len(at) > 0)

    def _trouble(self, event: str, **why: str) -> None:
        message = f"{self._job.name}/request"
        self._place.emit(self._place.node.name, event, message=message, peer=self._at.name, **why)
