"""Network namespaces: one for each run, and one for each of its containers.

A run's switches and links are in a namespace of their own for three reasons. On the host, Docker's firewall rules drop
what a bridge forwards. Two runs cannot clash. The kernel deletes what is in a namespace with the namespace.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pyroute2 import netns

Result = TypeVar("Result")


@dataclass(frozen=True)
class Counters:
    """An interface's counters: bytes received, bytes sent, and frames dropped instead of sent."""

    received: int
    sent: int
    dropped: int


_CLONE_NEWNET = 0x40000000  # linux/sched.h

_RENAMING = threading.Lock()
"""Held while the path of a namespace is replaced."""


@dataclass(frozen=True)
class Namespace:
    """A network namespace, identified by the path of a file that refers to it."""

    path: Path

    @classmethod
    def create(cls, name: str) -> "Namespace":
        """A new namespace that ``ip netns`` lists as ``name``."""
        # pyroute2 starts a process for this, which is slow for hundreds of namespaces or on a busy host.
        return in_throwaway_namespace(lambda: cls.attach(name, "thread-self"))

    @classmethod
    def attach(cls, name: str, pid: int | str) -> "Namespace":
        """The namespace of a process. ``ip netns`` lists it as ``name``, and it lasts as long as that name."""
        netns.attach(name, pid)
        return cls(Path("/run/netns") / name)

    def replace(self, pid: int) -> None:
        """Give the name and path to the namespace of a process. The kernel deletes this one with its last user."""
        with _RENAMING:
            netns.remove(self.path.name)
            netns.attach(self.path.name, pid)

    @classmethod
    def of_process(cls, pid: int) -> "Namespace":
        """The namespace of a process, by its path in /proc."""
        return cls(Path(f"/proc/{pid}/ns/net"))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the namespace. Processes and threads that it starts there stay in it."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            with _RENAMING:
                there = os.open(self.path, os.O_RDONLY)
            try:
                netns.setns(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                netns.setns(before)
        finally:
            os.close(before)

    def counters(self) -> dict[str, Counters]:
        """The counters of every interface in the namespace, by its name (/proc/PID/net/dev, proc(5))."""
        with self.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
        fields = {name.strip(): values.split() for name, values in (line.split(":") for line in lines)}
        return {name: Counters(int(of[0]), int(of[8]), int(of[11])) for name, of in fields.items()}


def in_throwaway_namespace(work: Callable[[], Result]) -> Result:
    """Call ``work`` in a new namespace. The kernel deletes the namespace afterwards, unless ``work`` gave it a name."""
    outcome: list[Result | BaseException] = []

    def enter_and_work() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no network namespace can be made")
            outcome.append(work())
        except BaseException as error:  # raised again in the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=enter_and_work)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
