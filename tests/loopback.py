"""Loopback addresses that no other process of this machine's tests has: 127.x.y.1 to 127.x.y.254."""

import secrets
import socket


def _reserve() -> tuple[socket.socket, str]:
    """A lock on a network, and its prefix. An abstract name is taken until its process ends (unix(7))."""
    while True:
        prefix = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}."
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0testbed-tests {prefix}")
        except OSError:
            lock.close()
        else:
            return lock, prefix


_lock, _PREFIX = _reserve()


def address(number: int) -> str:
    """An address, the same for the same number, from 1 on."""
    assert 1 <= number <= 254
    return f"{_PREFIX}{number}"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has at these addresses."""
    with socket.socket(type=kind) as probe:
        probe.bind((address(1), 0))
        port: int = probe.getsockname()[1]
        return port
