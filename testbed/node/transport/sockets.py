"""Sockets that take what is sent to one address of the node, and nothing that comes to another of its addresses."""

import socket
from typing import Final

_IP_FREEBIND: Final = 15  # linux/in.h; Python names it from 3.13 on


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """A socket at ``port`` of the IPv4 ``address``, which the node may get later; raises OSError.

    An agent starts before its network stands.
    """
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if kind == socket.SOCK_STREAM:  # otherwise connections of an earlier agent would keep the port for a minute
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
