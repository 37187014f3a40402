"""A node that is a container with an agent, with the CPU and memory of the device that it stands for."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from docker.models.containers import Container

from testbed.core.clock import Clock
from testbed.faults.api import Condition
from testbed.host.namespace import Namespace
from testbed.node import config as places
from testbed.node.character.traits import AnyTrait, Character
from testbed.world.nodes.capped_container import GLANCE, CappedContainer
from testbed.world.nodes.client import AgentClient
from testbed.world.nodes.feed import EventFeed
from testbed.world.nodes.handle import Event, NodeGoneError


class ContainerNode(CappedContainer):
    """The container of an agent. ``shared`` is the directory that container and host both see.

    ``namespace`` is named as the container is.
    """

    def __init__(self, name: str, container: Container, shared: Path, cpus: float, clock: Clock) -> None:
        """Start ``container``; raises WorldError if it does not start, or ends at once."""
        super().__init__(name, container, cpus, clock)
        self.shared = shared
        self.feed = EventFeed(self.clock_offset)
        self.start()
        try:
            self.namespace = Namespace.attach(str(container.name), self.pid)
        except OSError as error:
            if not self.ended:
                raise
            self.close()
            raise self.ended_at_once() from error

    def session(self) -> "ContainerSession":
        """A session with its agent."""
        return ContainerSession(self)

    def change(self, before: Condition, after: Condition) -> None:
        """Change what differs between the conditions; the character also of a node that has ended."""
        if after.character != before.character:
            self.misbehave(after.character)
        super().change(before, after)

    def slow_down(self, slowness: float) -> None:
        """Make its model ``slowness`` times as slow from the next token on, also if the agent does not run now."""
        self._tell(places.SLOWNESS, None if slowness == 1 else repr(slowness))

    def misbehave(self, traits: Sequence[AnyTrait]) -> None:
        """Give its agent these traits, from its next answer on, also if it does not run now."""
        self._tell(places.CHARACTER, Character(traits=tuple(traits)).model_dump_json() if traits else None)

    def _tell(self, file: str, content: str | None) -> None:
        """Write a file for the agent; None removes it."""
        told = self.shared / file
        if content is None:
            told.unlink(missing_ok=True)
            return
        # Written outside of what the agent sees: it can neither read the file half-written nor replace it.
        new = self.shared.parent / f"{self.name}.{file}"
        new.write_text(content, encoding="utf-8")
        new.replace(told)


class ContainerSession(AgentClient):
    """A session with the agent in a container."""

    def __init__(self, node: ContainerNode) -> None:
        super().__init__(node.shared / places.SOCKET, node.feed)
        self._node = node

    async def ready(self) -> None:
        """Wait until the agent has its model loaded, and cap its CPU; raises WorldError if the agent ends before.

        Without the cap, because to boot Python on a tenth of a core takes ten seconds, for nothing.
        """
        await self.see_it_start(self._node, GLANCE)
        await asyncio.to_thread(self._node.cap_cpu, self._node.cpus)

    async def last_events(self) -> Sequence[Event]:
        """All events that are left. Those of an agent that does not answer any more lie in its file."""
        try:
            return await super().last_events()
        except NodeGoneError:
            path = self._node.shared / places.EVENTS
            return self._feed.take(path.read_bytes()[self._feed.resume() :]) if path.exists() else ()
