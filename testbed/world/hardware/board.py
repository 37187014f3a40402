"""A node that is a board with an agent."""

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from testbed.core.errors import HostError
from testbed.faults.api import Condition
from testbed.node import config as places
from testbed.node.character.traits import Character
from testbed.world.hardware.clock import ClockWatch
from testbed.world.hardware.installation import Installation
from testbed.world.hardware.stand_in import BRIDGE, StandIn
from testbed.world.journal import Journal
from testbed.world.nodes.client import AgentClient
from testbed.world.nodes.feed import EventFeed
from testbed.world.nodes.handle import ClockOffset, Event, Exit, NodeGoneError, Usage, WorldError

_LOG: Final = "agent.log"
_GLANCE: Final = 0.02  # seconds between two looks at whether the agent serves
_DEATH: Final = 5.0  # seconds until ssh tells that a killed agent has ended
_LOST: Final = 255  # ssh's exit status if the connection ends


class BoardNode:
    """The agent on a board, begun by the shell command ``agent``. ``shared`` is the node's directory on this host."""

    bridge = BRIDGE
    cores: frozenset[int] = frozenset()
    started_by_others = False

    def __init__(
        self,
        name: str,
        stand_in: StandIn,
        board: Installation,
        shared: Path,
        watch: ClockWatch,
        agent: str,
        journal: Journal,
    ) -> None:
        self.name = name
        self.namespace = stand_in.namespace
        self.shared = shared
        self.exits: list[Exit] = []
        self.feed = EventFeed(watch.map)
        self._board = board
        self._watch = watch
        self._agent = agent
        self._journal = journal
        self._exit: Exit | None = None
        self._process = self._begin()

    @property
    def clock_offset(self) -> ClockOffset:
        """The latest offset, and the largest error of any time so far."""
        return self._watch.map.offset

    def session(self) -> "BoardSession":
        """A session with its agent."""
        return BoardSession(self)

    @property
    def ended(self) -> bool:
        """Whether the agent has ended, or the connection to the board."""
        return self._process.poll() is not None

    def exit(self) -> Exit | None:
        """How it ended; None while it runs."""
        status = self._process.poll()
        if status is not None and self._exit is None:
            lost = "the connection to the board ended"
            self._exit = Exit(lost if status == _LOST else f"ended with code {status}")
            self.exits.append(self._exit)
        return self._exit

    def logs(self) -> bytes:
        """All that the agent printed."""
        return (self.shared / _LOG).read_bytes()

    def usage(self) -> Usage | None:
        """Not measured."""
        return None

    def change(self, before: Condition, after: Condition) -> None:
        """Change what differs between the conditions; raises WorldError."""
        try:
            self._change(before, after)
        except HostError as error:
            raise WorldError(f"node {self.name!r} cannot be changed: {error}") from error

    def _change(self, before: Condition, after: Condition) -> None:
        if after.slowness != before.slowness:
            self._board.write(places.SLOWNESS, repr(after.slowness))
        if after.character != before.character:
            self._board.write(places.CHARACTER, Character(traits=after.character).model_dump_json())
        if self.ended:
            return
        if before.running and not after.running:
            self._signal("KILL")
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_DEATH)
        elif after.hanging != before.hanging:
            self._signal("STOP" if after.hanging else "CONT")

    def start_again(self) -> None:
        """Start the agent, which has ended, once more."""
        self._process.wait()
        self.exit()
        self._exit = None
        self._process = self._begin()

    def events_after(self, taken: int) -> bytes:
        """What the agent's event file has after the first ``taken`` bytes; raises HostError."""
        return self._board.control.run(f"tail -c +{taken + 1} {self._board.directory / places.EVENTS}")

    def close(self) -> None:
        """Stop watching the board's clock. The agent runs on."""
        self._watch.stop()

    def _begin(self) -> "subprocess.Popen[bytes]":
        command = f"{self._agent} </dev/null & echo $! > {self._board.directory}/pid; wait $!"
        with (self.shared / _LOG).open("ab") as log:
            process = self._board.control.begin(command, stdout=log, stderr=log)
        self._journal.record_process(process.pid)
        return process

    def _signal(self, name: str) -> None:
        self._board.control.run(f"kill -{name} $(cat {self._board.directory}/pid)")


class BoardSession(AgentClient):
    """A session with the agent on a board, through the tunnel."""

    def __init__(self, node: BoardNode) -> None:
        super().__init__(node.shared / places.SOCKET, node.feed)
        self._node = node

    async def ready(self) -> None:
        """Wait until the agent has its model loaded; raises WorldError if it ends before."""
        await self.see_it_start(self._node, _GLANCE)

    async def last_events(self) -> Sequence[Event]:
        """All events that are left. Those of an agent that does not answer any more lie in its file."""
        try:
            return await super().last_events()
        except NodeGoneError:
            with suppress(HostError):  # the board is gone, and its last events with it
                return self._feed.take(await asyncio.to_thread(self._node.events_after, self._feed.resume()))
            return ()
