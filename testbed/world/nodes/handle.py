"""What a run needs of a node, whatever the node is.

    runner, timeline, recording, live view
       │ NodeHandle: how it stands, what it printed, what it uses, faults
       │ Session:    prompts and events, within one event loop
       ▼
    container        a board, somebody else's server, a host interface: other kinds, each one class

A node kind (:mod:`testbed.schema.network.node`) starts such nodes. Only the kind knows how they are reached.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import docker

from testbed.core.clock import Clock
from testbed.core.errors import TestbedError
from testbed.faults.api import Condition
from testbed.host.devices import Device
from testbed.host.namespace import Namespace
from testbed.node.config import NodeConfig
from testbed.patterns.participant import Prompt, Record
from testbed.schema.network.node import Node
from testbed.schema.scenario import Sampling
from testbed.world.journal import Journal

Event = dict[str, Any]
"""One event of a node: ``t`` in seconds of the run's clock, ``node``, ``event``, and what the event carries."""


class WorldError(TestbedError):
    """A world cannot be built or changed."""

    exit_code = 3


class NodeGoneError(Exception):
    """A node does not answer any more."""


@dataclass(frozen=True)
class Exit:
    """How a node ended: ``out of memory``, ``ended with code 137``, …"""

    reason: str

    def __str__(self) -> str:
        return self.reason


def last_words(logs: bytes) -> str:
    """The last lines of what a node printed."""
    return "\n".join(logs.decode(errors="replace").splitlines()[-5:])


@dataclass(frozen=True)
class ClockOffset:
    """Seconds by which a node's clock is ahead of the run's, and the largest error of that figure."""

    seconds: float = 0.0
    error: float = 0.0

    def on_run_clock(self, time: float) -> float:
        """A time of the node's clock on the run's."""
        return time - self.seconds


class NodeClock(Protocol):
    """What tells the times of a node's clock on the run's."""

    def on_run_clock(self, time: float, /) -> float:
        """A time of the node's clock on the run's."""


@dataclass(frozen=True)
class Usage:
    """What a node has used.

    ``rss`` is what its processes have resident, pages that they share counted for each; ``memory`` is what its cgroup
    is charged, ``memory_peak`` the most that it was charged since the node's last start; all in bytes. ``cpu`` is CPU
    time in seconds of a core, and ``throttled`` the time in seconds of the run's clock that its CPU cap kept it
    waiting, both since the node's first start.
    """

    rss: int
    memory: int
    memory_peak: int
    cpu: float
    throttled: float


class Session(Protocol):
    """Control of one node, and its events, within one event loop."""

    async def ready(self) -> None:
        """Wait until the node can be asked, and is as slow as its device; raises WorldError if it ends before."""

    async def reach(self) -> Mapping[str, float | None]:
        """Seconds that a request to each of its neighbours takes, None for one that cannot be reached.

        Returns once the node can do what it is for: a ring is closed, and tuned. Raises NodeGoneError.
        """

    async def answer(self, prompt: Prompt) -> str:
        """Hand over a prompt and wait for its answer; raises JobError if there is none, or NodeGoneError.

        A prompt has an id, and is the same prompt if it is handed over twice.
        """

    def events(self, every: float) -> AsyncIterator[Sequence[Event]]:
        """The events from where the last session stopped, as they come; never ends.

        Events wait in the node for at most about ``every`` seconds. None is lost or doubled if the node restarts.
        """

    async def last_events(self) -> Sequence[Event]:
        """All events that are left, also those of a node that has ended."""


@runtime_checkable
class Learner(Protocol):
    """A session whose node can be told how right its answers, and those of others, were."""

    async def feedback(self, prompt: str, reward: float) -> None:
        """Tell how right the answer to the prompt called ``prompt`` was, from 0 to 1; raises NodeGoneError."""

    async def note(self, records: Mapping[str, Record]) -> None:
        """Tell how the checked answers of each node came out so far; raises NodeGoneError."""


class NodeHandle(Protocol):
    """One node of a running world."""

    @property
    def name(self) -> str:
        """Its name in the topology."""

    @property
    def namespace(self) -> Namespace:
        """The network namespace that the interfaces of its links are in."""

    @property
    def bridge(self) -> str | None:
        """The bridge in the namespace beyond which the node is; None where the namespace is the node's own."""

    @property
    def cores(self) -> frozenset[int]:
        """The numbers of this host's cores that it may run on; none where it runs elsewhere."""

    @property
    def clock_offset(self) -> ClockOffset:
        """How far its clock is ahead of the run's. Its events come with times of the run's clock all the same."""

    @property
    def exits(self) -> Sequence[Exit]:
        """How it has ended so far, whether or not it was started again."""

    def session(self) -> AbstractAsyncContextManager[Session]:
        """A session within the running event loop."""

    @property
    def ended(self) -> bool:
        """Whether it does not run. How it ended may be known a moment later."""

    def exit(self) -> Exit | None:
        """How it ended; None while it runs, or while that is not known."""

    @property
    def started_by_others(self) -> bool:
        """Whether somebody else has started it again after it ended. Asks whoever runs it, so it may block."""

    def logs(self) -> bytes:
        """All that it printed."""

    def usage(self) -> Usage | None:
        """What it has used; None where that cannot be told, or once it has ended."""

    def change(self, before: Condition, after: Condition) -> None:
        """Bring it from one condition into another; raises WorldError.

        The two differ in what its kind suffers, and not in ``deaf_to``, which the network sees to. If ``after`` runs
        and ``before`` does not, :meth:`start_again` has been called.
        """

    def start_again(self) -> int | None:
        """Start it once more after it ended, or take it up as it is if it was started by others; raises WorldError.

        Returns the id of a process in its new network namespace, or None if the namespace is the same as before.
        """

    def close(self) -> None:
        """Release what this process holds of the node, which runs on."""


@runtime_checkable
class LeavesFiles(Protocol):
    """A node of a kind that can leave files for the run directory."""

    def keep_files(self, directory: Path) -> None:
        """Copy them into ``directory``, which is made if there are any."""


@dataclass(frozen=True)
class PlannedNode:
    """A node that is to be started: what the topology says of it, the hardware that it stands for where it is emulated,
    the configuration of its agent if it runs one, and the files of its model by where they lie inside the node.
    ``address`` is its IP address in the emulated network."""

    name: str
    address: str
    spec: Node
    device: Device | None
    config: NodeConfig | None
    files: Mapping[Path, Path]


@dataclass(frozen=True)
class Site:
    """Where the nodes of a run are started, and what is the same for all of them.

    ``directory`` is the run's own, which its journal removes; ``addresses`` are those of all nodes, by name, and
    ``hosts`` is a file with them in the form of hosts(5).
    """

    journal: Journal
    directory: Path
    clock: Clock
    docker: docker.DockerClient
    image: str
    addresses: Mapping[str, str]
    hosts: Path
    sampling: Sampling
    seed: int
