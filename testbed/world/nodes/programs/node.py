"""A node that is somebody else's program, in two containers.

    holder    its network namespace, in which the links end; it sleeps
    program   joins that namespace when the network is made, and again after each restart

When a program ends, the kernel goes on to answer for its device. A fault that kills the node ends both.
"""

import asyncio
import os
import shutil
import stat
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from docker.models.containers import Container

from testbed.core.units import DURATION
from testbed.faults.api import Condition
from testbed.host.namespace import Namespace
from testbed.patterns.participant import JobError, Prompt
from testbed.world.nodes.capped_container import ENGINE_ERRORS, GLANCE, CappedContainer, EndedAtOnceError, engine_reason
from testbed.world.nodes.handle import Event, NodeGoneError, PlannedNode, Site, Usage, WorldError, last_words
from testbed.world.nodes.programs.asking import ask_command, ask_openai
from testbed.world.nodes.programs.needs import secrets
from testbed.world.nodes.programs.readiness import answers_well, listening_address, session_inside
from testbed.world.nodes.programs.spec import ProgramSpec

_LOOK: Final = 0.05  # seconds between two looks at whether a program is ready
_AWAY: Final = 10.0  # seconds that a prompt waits for a program that is not ready, as after a restart


class ProgramNode(CappedContainer):
    """A program, and what it has told so far. ``own`` is the directory that it can write to."""

    def __init__(
        self, planned: PlannedNode, spec: ProgramSpec, holder: Container, container: Container, own: Path, site: Site
    ) -> None:
        """Start the holder of the network; raises WorldError. The program starts with :meth:`begin`."""
        assert planned.device is not None  # a program is emulated
        super().__init__(planned.name, container, planned.device.cpus, site.clock)
        self.spec = spec
        self.sampling = site.sampling
        self.seed = site.seed
        self.is_ready = False
        self.awaited: Mapping[str, ProgramNode] = {}
        self._own = own
        self._holder = holder
        self._secrets = secrets(planned.name, spec.environment)
        self._begun = False
        self._began = 0.0
        self._untold: list[Event] = []
        pid = self._start_holder()
        self.cores = frozenset(os.sched_getaffinity(pid))
        self.namespace = Namespace.attach(str(container.name), pid)

    def wait_for(self, others: "Mapping[str, ProgramNode]") -> None:
        """Say which programs must be ready before this one begins."""
        self.awaited = others

    def session(self) -> "ProgramSession":
        """A session within the running event loop."""
        return ProgramSession(self)

    def begin(self) -> None:
        """Start the program, or take it up if others have; raises WorldError if it does not start."""
        self._began = self._clock.now()
        try:
            self.start()
        except EndedAtOnceError as error:
            if error.code:
                raise  # it may have had nothing more to do, but then it ends with 0
        self._begun = True

    def note_ready(self) -> None:
        """The program is ready."""
        self.is_ready = True
        self.emit("ready", load_seconds=self._clock.now() - self._began)

    def emit(self, event: str, **fields: object) -> None:
        """Record an event of this node, at this moment."""
        self._untold.append({"t": self._clock.now(), "node": self.name, "event": event, **fields})

    def untold(self) -> Sequence[Event]:
        """The events since the last call."""
        events, self._untold = self._untold, []
        return events

    @property
    def container(self) -> str:
        """What Docker calls the program's container."""
        return str(self._container.name)

    @property
    def begun(self) -> bool:
        """Whether the program has been started, whether or not it has ended since."""
        return self._begun

    @property
    def ended(self) -> bool:
        """Whether the program has ended; the engine may learn of it a moment later."""
        return self._begun and super().ended

    def logs(self) -> bytes:
        """All that it printed, with the names of secrets in place of their values."""
        output = super().logs()
        for variable, value in self._secrets.items():
            output = output.replace(value.encode(), self.spec.environment[variable].encode())
        return output

    def usage(self) -> Usage | None:
        """What it has used; None while the program does not run."""
        return super().usage() if self._begun else None

    def change(self, before: Condition, after: Condition) -> None:
        """Change what differs between the conditions; raises WorldError."""
        if after.running and not self._begun:
            self.begin()
        super().change(before, after)

    def kill(self) -> None:
        """Kill all processes (SIGKILL), and end the network: nobody answers for a device without power."""
        super().kill()
        with self._changed():
            self._holder.kill()

    def start_again(self) -> int | None:
        """Start the network again if it is gone; the program begins when it is made. Returns a process in a new one."""
        while self.exit() is None:
            time.sleep(GLANCE)  # the engine learns of the end a moment later
        self._begun = self.is_ready = False
        self._exit = None
        with self._changed():
            self._holder.reload()
            if self._holder.status == "running":
                return None
            return self._start_holder()

    def keep_files(self, directory: Path) -> None:
        """Copy the files that the run keeps into ``directory``. Links and pipes are left out."""
        for name in self.spec.out:
            with suppress(OSError):
                _copy(self._own / name, directory / name)

    def _start_holder(self) -> int:
        """Start the holder; returns its process."""
        try:
            self._holder.start()
            self._holder.reload()
        except ENGINE_ERRORS as error:
            raise WorldError(f"node {self.name!r} did not start: {engine_reason(error)}") from error
        return int(self._holder.attrs["State"]["Pid"])

    @contextmanager
    def _changed(self) -> Iterator[None]:
        try:
            yield
        except ENGINE_ERRORS as error:
            raise WorldError(f"node {self.name!r} cannot be changed: {engine_reason(error)}") from error


class ProgramSession:
    """A session with the program of ``node``."""

    def __init__(self, node: ProgramNode) -> None:
        self._node = node

    async def __aenter__(self) -> Self:
        self._http = session_inside(self._node.namespace)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ready(self) -> None:
        """Begin the program once those that it waits for are ready, and wait until it is; raises WorldError."""
        node = self._node
        while not all(other.is_ready for other in node.awaited.values()):
            await asyncio.sleep(_LOOK)
        await asyncio.to_thread(node.begin)
        try:
            await self._become_ready(node.spec.ready.within if node.spec.ready else None)
        except TimeoutError:
            assert node.spec.ready is not None
            within = DURATION.readable(node.spec.ready.within)
            raise WorldError(self._said(f"was not ready within {within}: {node.spec.ready}")) from None
        except NodeGoneError as error:
            raise WorldError(self._said(f"did not become ready: it {error}")) from None

    async def reach(self) -> Mapping[str, float | None]:
        """Nothing: whom a program calls is its own affair."""
        return {}

    async def answer(self, prompt: Prompt) -> str:
        """Hand over a prompt and wait for its answer; raises JobError if there is none, or NodeGoneError."""
        node, answers = self._node, self._node.spec.answers
        assert answers is not None  # else no prompt arrives here
        node.emit("arrival", prompt=prompt.id, text=prompt.text)
        try:
            await self._come_back(_AWAY)
            if answers.command is not None:
                text = await ask_command(node, answers.command, prompt)
            else:
                text = await ask_openai(node, self._http, answers, prompt)
        except (JobError, TimeoutError) as error:
            if node.exit() is not None:
                raise NodeGoneError(str(node.exit())) from error
            reason = str(error) or f"it was not ready within {DURATION.readable(_AWAY)}"
            node.emit("failed", prompt=prompt.id, reason=reason)
            raise JobError(reason) from error
        node.emit("answer", prompt=prompt.id, text=text)
        return text

    async def events(self, every: float) -> AsyncGenerator[Sequence[Event], None]:
        """The events from where the last session stopped, as they come; never ends."""
        while True:
            if self._node.begun and not self._node.ended:
                await self._look()
            if events := self._node.untold():
                yield events
            await asyncio.sleep(every)

    async def last_events(self) -> Sequence[Event]:
        """All events that are left."""
        return self._node.untold()

    async def _come_back(self, seconds: float) -> None:
        """Wait until the program is ready, also one that has ended and is started again; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self._node.ended or not await self._look():
                await asyncio.sleep(_LOOK)

    async def _become_ready(self, seconds: float | None) -> None:
        """Wait until the program is ready; raises TimeoutError, or NodeGoneError if it ends before."""
        async with asyncio.timeout(seconds):
            while not await self._look():
                if (end := self._node.exit()) is not None:
                    raise NodeGoneError(str(end))
                await asyncio.sleep(_LOOK)

    async def _look(self) -> bool:
        """Whether the program is ready; notes when it becomes so."""
        node = self._node
        if node.begun and not node.is_ready and await self._seems_ready() and not node.is_ready:
            node.note_ready()
        return node.is_ready

    async def _seems_ready(self) -> bool:
        node, ready = self._node, self._node.spec.ready
        if ready is None:
            return True
        if ready.log is not None:
            return ready.log.encode() in await asyncio.to_thread(node.logs)
        port = ready.tcp or ready.http
        assert port is not None  # one of the three is there
        address = listening_address(node.namespace, port)
        if address is None or ready.http is None:
            return address is not None
        return await answers_well(self._http, address, port, ready.path or "/")

    def _said(self, what: str) -> str:
        return "\n".join(filter(None, [f"node {self._node.name!r} {what}", last_words(self._node.logs())]))


def _copy(source: Path, target: Path) -> None:
    """Copy a regular file; raises OSError if there is none."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as copy:
                shutil.copyfileobj(file, copy, 2**20)
