"""Messages to the kernel's routing socket, as bytes (rtnetlink(7), netlink(7)).

The kernel backend uses these instead of pyroute2, for two reasons: a run may have hundreds of links, and one call here
sends many messages; and pyroute2 supports neither netem's rates nor its distributions nor its seeds.
"""

import os
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final

# linux/netlink.h, linux/rtnetlink.h
NEW_LINK: Final = 16
NEW_QDISC: Final = 36
NEW_FILTER: Final = 44
CHANGE: Final = 0
CREATE: Final = 0x400 | 0x200  # NLM_F_CREATE | NLM_F_EXCL

_REQUEST_ACK: Final = 0x1 | 0x4
_ERROR: Final = 2
_HEADER: Final = struct.Struct("=IHHII")
_LARGEST_ANSWER: Final = 2**16
_AT_ONCE: Final = 16  # messages per call; their answers must fit into the socket's buffer


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """An attribute with its header, padded to 4 bytes. A string gets a final zero byte; a number has 32 bits."""
    if isinstance(value, str):
        value = value.encode() + b"\0"
    if isinstance(value, int):
        value = struct.pack("=I", value)
    length = len(value) + 4
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request that asks for an acknowledgement."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST_ACK, 0, 0) + body


class RouteSocket:
    """A routing socket in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def __enter__(self) -> "RouteSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages made by :func:`message`, in order. Raises OSError for the first one that is refused.

        The kernel carries out the rest of a batch after a refused message.
        """
        for begin in range(0, len(messages), _AT_ONCE):
            batch = messages[begin : begin + _AT_ONCE]
            self._socket.send(b"".join(batch))
            errors = [error for error in self._answers(len(batch)) if error]
            if errors:
                raise OSError(errors[0], os.strerror(errors[0]))

    def _answers(self, count: int) -> list[int]:
        """The errno of each answer, 0 for success."""
        errors: list[int] = []
        while len(errors) < count:
            answers = self._socket.recv(_LARGEST_ANSWER)
            while answers:
                length, kind, *_ = _HEADER.unpack_from(answers)
                if kind == _ERROR:
                    errors.append(-struct.unpack_from("=i", answers, _HEADER.size)[0])
                answers = answers[(length + 3) & ~3 :]
        return errors
