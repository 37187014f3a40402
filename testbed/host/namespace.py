"""Network namespaces: the run's own, and those of its containers.

A run has its own because a bridge on the host passes through the host's firewall, where Docker drops what it forwards;
because two runs then cannot clash; and because the kernel removes all that is in it together with it.
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
    """What an interface has counted: bytes received and sent, and frames that were dropped instead of sent."""

    received: int
    sent: int
    dropped: int


_CLONE_NEWNET = 0x40000000  # linux/sched.h

_RENAMING = threading.Lock()
"""Held while a path may stand for nothing."""


@dataclass(frozen=True)
class Namespace:
    """A network namespace by the path of a file that stands for it."""

    path: Path

    @classmethod
    def create(cls, name: str) -> "Namespace":
        """A new one that ``ip netns`` lists as ``name``."""
        # pyroute2 would start a process for this, which takes its time where there are many, or much else to do.
        return in_throwaway_namespace(lambda: cls.attach(name, "thread-self"))

    @classmethod
    def attach(cls, name: str, pid: int | str) -> "Namespace":
        """The one that a process is in, which ``ip netns`` lists as ``name`` from now on, and which lives as long."""
        netns.attach(name, pid)
        return cls(Path("/run/netns") / name)

    def replace(self, pid: int) -> None:
        """Let its name, and so its path, stand for the one that a process is in; this one goes with its last user."""
        with _RENAMING:
            netns.remove(self.path.name)
            netns.attach(self.path.name, pid)

    @classmethod
    def of_process(cls, pid: int) -> "Namespace":
        """The one that a process is in."""
        return cls(Path(f"/proc/{pid}/ns/net"))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into it for a while; processes and threads started meanwhile are born there."""
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
        """Those of every interface in it, by its name (proc(5), /proc/PID/net/dev)."""
        with self.entered():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
        fields = {name.strip(): values.split() for name, values in (line.split(":") for line in lines)}
        return {name: Counters(int(of[0]), int(of[8]), int(of[11])) for name, of in fields.items()}


def in_throwaway_namespace(work: Callable[[], Result]) -> Result:
    """What ``work`` returns in a new namespace, which is gone afterwards unless it was given a name."""
    outcome: list[Result | BaseException] = []

    def enter_and_work() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no network namespace can be made")
            outcome.append(work())
        except BaseException as error:  # handed to the caller's thread below
            outcome.append(error)

    thread = threading.Thread(target=enter_and_work)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
