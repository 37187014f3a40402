"""Whether a program is ready, as its topology file says: without a connection that it could take for a client's."""

import re
import socket
import struct
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from testbed.host.namespace import Namespace

_LISTENS: Final = "0A"  # TCP_LISTEN
_PATIENCE: Final = 5.0  # seconds for one request


def listening_address(namespace: Namespace, port: int) -> str | None:
    """The address at which a process in ``namespace`` listens on ``port``; None if none does.

    By the kernel's table of sockets (proc(5), /proc/PID/net/tcp). Where it listens on all addresses, the loopback's.
    """
    with namespace.entered():
        tables = [Path(f"/proc/thread-self/net/{name}") for name in ("tcp", "tcp6")]
        lines = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    ends = [line[1].split(":") for line in lines if line[3] == _LISTENS]
    return next((_address(address) for address, number in ends if int(number, 16) == port), None)


def _address(written: str) -> str:
    """An address as the kernel writes it: words of 32 bits in the order of the machine's bytes."""
    words = [int(word, 16) for word in re.findall(".{8}", written)]
    if not any(words):
        return "127.0.0.1"
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def session_inside(namespace: Namespace) -> ClientSession:
    """An HTTP session whose connections begin in ``namespace``. To its own addresses they never leave it."""

    def made(info: tuple[int, int, int, str, object]) -> socket.socket:
        family, kind, protocol, *_ = info
        with namespace.entered():
            return socket.socket(family, kind, protocol)

    # No connection is used again: a server may close an idle one at the moment at which a request is sent.
    connector = TCPConnector(socket_factory=made, limit=0, force_close=True)
    return ClientSession(connector=connector, timeout=ClientTimeout(total=None))


async def answers_well(session: ClientSession, address: str, port: int, path: str) -> bool:
    """Whether a request has a status of 2xx."""
    try:
        async with session.get(url(address, port, path), timeout=ClientTimeout(_PATIENCE)) as response:
            return response.ok and response.status < 300
    except (ClientError, OSError, TimeoutError):
        return False


def url(address: str, port: int, path: str) -> str:
    """The URL of ``path`` at an address of IPv4 or IPv6."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}{path}"
