"""Links made by a process: a pair of TAP devices, and one relay for all links of a run that forwards between them.

a ──tap── relay: waits its turn, takes size ÷ bandwidth, then the delay ──tap── b      and the same from b to a
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from dataclasses import asdict

from testbed.emulation.journal import Journal
from testbed.emulation.links.backend import End, Health, LinkBackend
from testbed.emulation.namespace import in_throwaway_namespace
from testbed.spec.link import Link

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000


class UserspaceLinks:
    """The links of a run, which one relay serves."""

    def __init__(self, journal: Journal) -> None:
        """Start the relay."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "testbed.emulation.links.relay", str(theirs.fileno())]
        with theirs:
            relay = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                # A kept run's relay outlives the runner; it must not hold the pipe that the runner writes into.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        journal.record_process(relay.pid)
        self._relay = relay

    def health(self) -> Health:
        """The devices go with the relay."""
        return Health() if self._relay.poll() is None else Health(failure="the relay of the links ended")

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create the two TAP devices and hand them to the relay."""
        taps = [_open_tap(end) for end in (a, b)]
        order = {"up": asdict(link.up), "down": asdict(link.down)}
        socket.send_fds(self._control, [json.dumps(order).encode()], taps)
        for tap in taps:
            os.close(tap)
        if not self._control.recv(16):
            raise RuntimeError(f"the relay ended while it was given the link {link.name}")


def _open_tap(end: End) -> int:
    """A TAP device in the end's namespace; it stays there and lives as long as the descriptor."""
    with end.namespace.entered():
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", end.interface.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


def _missing() -> str | None:
    """Found by trying."""

    def attempt() -> None:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"probe0", _IFF_TAP | _IFF_NO_PI))
        os.close(descriptor)

    try:
        in_throwaway_namespace(attempt)
    except OSError as error:
        return f"no TAP device can be made ({error})"
    return None


USERSPACE = LinkBackend("userspace", _missing, UserspaceLinks)
"""The backend for kernels without netem."""
