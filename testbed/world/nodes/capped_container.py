"""A container with caps, whatever runs in it: how it ended, what it printed and used, and the faults it suffers."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from testbed.core.clock import Clock
from testbed.faults.api import Condition
from testbed.host.cfs import CFS_PERIOD, cap_period
from testbed.world.nodes.cgroups import Cgroup
from testbed.world.nodes.consumption import Consumption
from testbed.world.nodes.handle import ClockOffset, Exit, Usage, WorldError, last_words

ENGINE_ERRORS: Final = (DockerException, OSError)
"""What the engine's client raises. Errors of its connection are OSErrors."""

GLANCE: Final = 0.01
"""Seconds between two looks at something that the engine or a node is about to do."""

_DEATH: Final = 200  # milliseconds that killed processes have for dying by themselves

_USE_MEMORY: Final = "dd if=/dev/zero of=/dev/shm/used bs=1M count=32"
"""A tmpfs is charged to the container that writes to it, and cannot be reclaimed."""

_GROWTH: Final = 4 * 2**20  # bytes that a container may take up while the engine sets its cap


class EndedAtOnceError(WorldError):
    """A container ended with ``code`` before it could be looked at."""

    def __init__(self, name: str, code: int, last_words: str) -> None:
        self.code = code
        super().__init__(f"node {name!r} ended at once with code {code}\n{last_words}")


class CappedContainer:
    """The container of the node called ``name``, which goes by ``clock``. ``cpus`` are the cores of its device.

    ``pid`` is its init process, and ``cores`` are those that it may run on, both once it is started.
    """

    bridge: str | None = None
    cores: frozenset[int]

    def __init__(self, name: str, container: Container, cpus: float, clock: Clock) -> None:
        self.name = name
        self.cpus = cpus
        self.clock_offset = ClockOffset()  # all containers of a host share its CLOCK_MONOTONIC
        self.exits: list[Exit] = []
        self.pid = 0
        self._process: int | None = None
        self._container = container
        self._clock = clock
        self._consumption: Consumption | None = None  # a restart keeps the path of its cgroup
        self._exit: Exit | None = None
        self._looking = threading.Lock()

    @property
    def ended(self) -> bool:
        """Whether it has ended; the engine may learn of it a moment later."""
        return self._exit is not None or self._ends_within(0)

    def exit(self) -> Exit | None:
        """How it ended; None while it runs, or while the engine does not know."""
        with self._looking:
            if self._exit is None and self.ended and (exit_ := self._exit_by_engine()) is not None:
                self._exit = exit_
                self.exits.append(exit_)
            return self._exit

    @property
    def started_by_others(self) -> bool:
        """Whether the container runs again with another process than the one that was started here."""
        if self.exit() is None:
            return False
        with self._looking, suppress(*ENGINE_ERRORS):
            self._container.reload()
            return self._runs_another()
        return False

    def logs(self) -> bytes:
        """All that it printed."""
        try:
            output: bytes = self._container.logs()
        except ENGINE_ERRORS as error:  # somebody has removed the container, or the engine has ended
            return f"the output is lost: {engine_reason(error)}\n".encode()
        return output

    def usage(self) -> Usage | None:
        """What it has used; None before its start, and once it has ended."""
        if self._consumption is None:
            return None
        try:
            return self._consumption.read()
        except OSError:  # a cgroup goes with its last process
            if not self.ended:
                raise
            return None

    def change(self, before: Condition, after: Condition) -> None:
        """Change what differs between the conditions; raises WorldError.

        A container that ended by itself, for example out of memory, stays as it is.
        """
        if after.slowness != before.slowness:  # of a node that has ended, too: it holds when it is started again
            self.slow_down(after.slowness)
        if before.running and not after.running:
            self.kill()
        if self.ended:
            return
        if after.cpus != before.cpus:
            self.cap_cpu(after.cpus)
        if after.memory != before.memory:
            self.cap_memory(after.memory)
        if after.hanging != before.hanging:
            self.hang(after.hanging)
        if after.paused != before.paused:
            self.pause(after.paused)

    def start_again(self) -> int | None:
        """Start the container, which has ended, once more, unless somebody else has done so.

        Returns a process in its new and empty namespace.
        """
        while self.exit() is None:  # the engine learns of the end a moment later
            time.sleep(GLANCE)
        self.start()
        self._exit = None
        return self.pid

    def cap_cpu(self, cpus: float, period: float = CFS_PERIOD) -> None:
        """Cap its CPU time at ``cpus`` cores, enforced in every ``period`` seconds of its clock; raises WorldError."""
        share = cpus / self._clock.dilation
        microseconds = round(1e6 * cap_period(share, self._clock.real(period)))
        with self._running():
            self._container.update(cpu_period=microseconds, cpu_quota=round(microseconds * share))

    def cap_memory(self, cap: int) -> None:
        """Cap its memory at ``cap`` bytes; raises WorldError. A process is killed if the cap is too low for it.

        Cgroups of version 1 take no cap below what is in use (memory.limit_in_bytes). There the cap becomes a little
        more than what is in use, and then more is used: so the kernel finds the container out of memory, as it does on
        version 2.
        """
        with self._running():
            try:
                self._update_memory(cap)
            except APIError:
                self._update_memory(max(cap, Cgroup(self.pid).read().memory + _GROWTH))
                self._container.exec_run(_USE_MEMORY, detach=True)

    def pause(self, paused: bool) -> None:
        """Freeze all processes, or thaw them."""
        with self._running():
            self._container.reload()
            if self._container.attrs["State"]["Paused"] == paused:  # by somebody else
                return
            if not paused:
                self._container.unpause()
                return
            # A process that waits behind its cap cannot be frozen, and the engine gives up.
            with Cgroup(self.pid).uncapped():
                self._container.pause()

    def hang(self, hanging: bool) -> None:
        """Stop all processes but init (SIGSTOP) with their sockets open, or continue them."""
        with self._running():
            for pid in set(Cgroup(self.pid).processes()) - {self.pid}:
                os.kill(pid, signal.SIGSTOP if hanging else signal.SIGCONT)

    def slow_down(self, slowness: float) -> None:
        """Make its model ``slowness`` times as slow. Faults do so only to kinds with a model that can be slowed."""
        raise NotImplementedError

    def kill(self) -> None:
        """Kill all processes (SIGKILL); returns once they have ended."""
        if self.started_by_others:
            with self._running():
                self._container.kill()
            return
        with self._running():
            Cgroup(self.pid).uncap_cpu()  # behind its cap a process takes a tenth of a second to give back its memory
            if self._process is not None:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
            if not self._ends_within(_DEATH):  # frozen processes die when they are thawed, which the engine does
                self._container.kill()

    def close(self) -> None:
        """Release the descriptor of its process. The container runs on."""
        if self._process is not None:
            os.close(self._process)
            self._process = None

    def start(self) -> None:
        """Start the container, or take it up if it runs; raises WorldError if it does not start, or ends at once."""
        try:
            self._container.start()
            self._container.reload()
        except ENGINE_ERRORS as error:
            raise WorldError(f"node {self.name!r} did not start: {engine_reason(error)}") from error
        self.pid = int(self._container.attrs["State"]["Pid"])
        try:
            # Held open, the descriptor means this process for ever; the kernel gives a pid to another process later.
            before, self._process = self._process, os.pidfd_open(self.pid)
        except OSError as error:
            raise self.ended_at_once() from error
        if before is not None:
            os.close(before)
        try:
            self.cores = frozenset(os.sched_getaffinity(self.pid))
            self._consumption = self._consumption or Consumption(Cgroup(self.pid), self._clock)
        except OSError as error:
            if not self.ended:
                raise
            self.close()
            raise self.ended_at_once() from error

    def _exit_by_engine(self) -> Exit | None:
        """How the process that was started here ended; None while the engine does not know."""
        try:
            self._container.reload()
        except NotFound:
            return Exit("removed from the engine")
        except ENGINE_ERRORS:
            return Exit("ended, and the engine does not answer")
        state = self._container.attrs["State"]
        if state["Running"]:
            return Exit("ended and was started again by others") if self._runs_another() else None
        return Exit("out of memory" if state["OOMKilled"] else f"ended with code {state['ExitCode']}")

    def _runs_another(self) -> bool:
        """Whether, as last seen, the container runs with another process than the one that was started here."""
        state = self._container.attrs["State"]
        return bool(state["Running"] and state["Pid"] not in (0, self.pid))

    def ended_at_once(self) -> EndedAtOnceError:
        """The error that says how it ended, and what it printed last."""
        self._container.reload()
        code = self._container.attrs["State"]["ExitCode"]
        return EndedAtOnceError(self.name, code, last_words(self.logs()))

    def _update_memory(self, cap: int) -> None:
        self._container.update(mem_limit=cap, memswap_limit=cap)  # the two together: no swap

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Ignore errors within if the container has ended: the change has no effect then."""
        try:
            yield
        except ENGINE_ERRORS as error:
            if not self.ended:
                raise WorldError(f"node {self.name!r} cannot be changed: {engine_reason(error)}") from error

    def _ends_within(self, milliseconds: int) -> bool:
        if self._process is None:
            return True
        end = select.poll()  # one for each caller: several threads may not wait on the same
        end.register(self._process)
        return bool(end.poll(milliseconds))


def engine_reason(error: Exception) -> str:
    """What the engine said."""
    return str(error.explanation or error) if isinstance(error, APIError) else str(error)
