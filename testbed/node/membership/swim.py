"""A node's view of its neighbours, kept by gossip. No I/O and no clock: :mod:`.heartbeats` has both.

After SWIM (Das, Gupta, Motivala, DSN 2002):

    every period       ping one neighbour, in rounds that are shuffled anew
    no ack in time     ask ``helpers`` others to ping it (ping-req); an ack comes back the same way
    none by the end    suspect it, and say so; it may say that it lives, under a higher incarnation
    nor after that     it is lost

Two things differ from the paper, because links here fail and heal. A suspected or lost neighbour is pinged in period,
so it is back as soon as a ping passes; in the paper no node returns. A loss is not passed on: each node suspects a
neighbour itself first. Otherwise one side of a healed partition would spread the loss of all nodes of the other.

Times are seconds on the caller's clock.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from testbed.patterns.protocol import MembershipOptions

MOST_RUMOURS: Final = 8
"""Rumours in one message. With names of 32 letters a message stays below 1,000 bytes, within one frame."""

_REPEATS: Final = 3  # a rumour is told this many times the logarithm of the number of nodes (the paper's λ)


@dataclass(frozen=True)
class Alive:
    """A neighbour that answers."""

    incarnation: int


@dataclass(frozen=True)
class Suspected:
    """A neighbour that did not answer. At ``until`` it becomes lost."""

    incarnation: int
    until: float


@dataclass(frozen=True)
class Lost:
    """A neighbour that was suspected for too long."""

    incarnation: int


State = Alive | Suspected | Lost


class Rumour(BaseModel):
    """One node's statement about another."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    alive: bool
    incarnation: int = Field(ge=0)


class Heartbeat(BaseModel):
    """A message sent by ``source``: ``origin`` asks whether ``subject`` lives, and numbers its pings with ``number``.

    Helpers forward the ping to ``subject``, and the ack back to ``origin``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["ping", "ping-req", "ack"]
    source: str
    incarnation: int = Field(ge=0)
    origin: str
    subject: str
    number: int
    rumours: tuple[Rumour, ...] = Field((), max_length=MOST_RUMOURS)


@dataclass(frozen=True)
class Send:
    """The instruction to send a message."""

    to: str
    message: Heartbeat


@dataclass(frozen=True)
class Change:
    """The note that a neighbour has entered a state."""

    name: str
    state: State


Step = Iterator[Send | Change]
"""Actions that follow from an event. The view changes as the iterator advances, so it must be exhausted."""


@dataclass(frozen=True)
class _Probe:
    """A ping without an ack yet. Helpers are asked at ``help_at``, which is None afterwards."""

    number: int
    help_at: float | None
    until: float


class Membership:
    """The view of the node ``name``. Each neighbour counts as alive until it fails to answer."""

    def __init__(self, name: str, neighbours: Sequence[str], options: MembershipOptions, draw: random.Random) -> None:
        self._name = name
        self._options = options
        self._draw = draw
        self._incarnation = 0
        self._states: dict[str, State] = {neighbour: Alive(0) for neighbour in neighbours}
        self._told: dict[str, int] = {}  # how often each rumour that still goes round was told
        self._probes: dict[str, _Probe] = {}
        self._round: list[str] = []
        self._next_period = -math.inf
        self._number = 0

    def state(self, neighbour: str) -> State:
        """The state of a neighbour."""
        return self._states[neighbour]

    @property
    def due(self) -> float:
        """The time at which :meth:`tick` must be called next."""
        probes = (probe.until if probe.help_at is None else probe.help_at for probe in self._probes.values())
        suspicions = (state.until for state in self._states.values() if isinstance(state, Suspected))
        return min([self._next_period, *probes, *suspicions])

    def tick(self, now: float) -> Step:
        """Do what is due at ``now``."""
        for neighbour, probe in list(self._probes.items()):
            if now >= probe.until:
                del self._probes[neighbour]
                yield from self.suspect(neighbour, now)
            elif probe.help_at is not None and now >= probe.help_at:
                self._probes[neighbour] = _Probe(probe.number, None, probe.until)
                yield from self._ask_for_help(neighbour, probe.number)
        for neighbour, state in list(self._states.items()):
            if isinstance(state, Suspected) and now >= state.until:
                yield self._see(neighbour, Lost(state.incarnation))
        if now >= self._next_period:
            self._next_period = now + self._options.period
            yield from self._begin_period(now)

    def suspect(self, neighbour: str, now: float) -> Step:
        """Suspect a neighbour that did not answer a ping or a request, and ping it at once."""
        state = self._states[neighbour]
        if isinstance(state, Alive):
            yield self._see(neighbour, Suspected(state.incarnation, now + self._options.suspicion))
            self._told[neighbour] = 0
            self._probes.pop(neighbour, None)  # a ping that is on its way does not say that it is suspected
            yield from self._probe(neighbour, now)

    def receive(self, message: Heartbeat, now: float) -> Step:
        """Process a message. Messages that name a node which is no neighbour are ignored."""
        if not {message.source, message.origin, message.subject} <= {self._name, *self._states}:
            return
        yield from self._hear(Rumour(name=message.source, alive=True, incarnation=message.incarnation), now)
        for rumour in message.rumours:
            yield from self._hear(rumour, now)
        match message.kind:
            case "ping":
                yield self._send(message.source, "ack", message.origin, self._name, message.number)
            case "ping-req":
                yield self._send(message.subject, "ping", message.origin, message.subject, message.number)
            case "ack" if message.origin != self._name:
                yield self._send(message.origin, "ack", message.origin, message.subject, message.number)
            case "ack":
                probe = self._probes.get(message.subject)
                if probe is not None and probe.number == message.number:
                    del self._probes[message.subject]

    def _begin_period(self, now: float) -> Step:
        """Ping the next neighbour of the round, and every neighbour that is not alive."""
        if not self._round:
            self._round = self._draw.sample(list(self._states), len(self._states))
        turn = self._round.pop() if self._round else None
        for neighbour, state in self._states.items():
            if neighbour == turn or not isinstance(state, Alive):
                yield from self._probe(neighbour, now)

    def _probe(self, neighbour: str, now: float) -> Step:
        if neighbour in self._probes:
            return
        self._number += 1
        self._probes[neighbour] = _Probe(self._number, now + self._options.timeout, now + self._options.period)
        yield self._send(neighbour, "ping", self._name, neighbour, self._number)

    def _ask_for_help(self, neighbour: str, number: int) -> Step:
        able = [name for name, state in self._states.items() if isinstance(state, Alive) and name != neighbour]
        for helper in self._draw.sample(able, min(self._options.helpers, len(able))):
            yield self._send(helper, "ping-req", self._name, neighbour, number)

    def _hear(self, rumour: Rumour, now: float) -> Step:
        if rumour.name == self._name:
            self._defend(rumour)
        elif rumour.name not in self._states:
            return
        elif rumour.alive:
            yield from self._hear_alive(rumour)
        elif rumour.incarnation >= self._states[rumour.name].incarnation:
            yield from self.suspect(rumour.name, now)

    def _hear_alive(self, rumour: Rumour) -> Step:
        """Accept a node's statement about itself if its incarnation is newer than the known one."""
        state = self._states[rumour.name]
        if rumour.incarnation <= state.incarnation:
            return
        self._told[rumour.name] = 0
        change = self._see(rumour.name, Alive(rumour.incarnation))
        if not isinstance(state, Alive):
            yield change

    def _defend(self, rumour: Rumour) -> None:
        """Deny a suspicion of this node, under an incarnation that is higher than the suspicion's.

        A restarted node has forgotten its incarnation, and learns it from the others.
        """
        if not rumour.alive and rumour.incarnation >= self._incarnation:
            self._incarnation = rumour.incarnation + 1
            self._told[self._name] = 0

    def _see(self, neighbour: str, state: State) -> Change:
        self._states[neighbour] = state
        return Change(neighbour, state)

    def _send(self, to: str, kind: Literal["ping", "ping-req", "ack"], origin: str, subject: str, number: int) -> Send:
        message = Heartbeat(
            kind=kind,
            source=self._name,
            incarnation=self._incarnation,
            origin=origin,
            subject=subject,
            number=number,
            rumours=tuple(self._rumours(to)),
        )
        return Send(to, message)

    def _rumours(self, to: str) -> Iterator[Rumour]:
        """A suspicion of the receiver first, so that it can deny it; then the rumours that were told least."""
        if not isinstance(self._states[to], Alive):
            yield self._rumour(to)
        fresh = sorted((name for name in self._told if name != to), key=lambda name: self._told[name])
        for name in fresh[: MOST_RUMOURS - 1]:
            yield self._rumour(name)
            self._told[name] += 1
            if self._told[name] >= _REPEATS * math.ceil(math.log2(len(self._states) + 1)):
                del self._told[name]

    def _rumour(self, name: str) -> Rumour:
        if name == self._name:
            return Rumour(name=name, alive=True, incarnation=self._incarnation)
        state = self._states[name]
        return Rumour(name=name, alive=isinstance(state, Alive), incarnation=state.incarnation)
