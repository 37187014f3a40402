"""Messages to the kernel's routing socket, in bytes (rtnetlink(7), netlink(7)).

For links made by the kernel, of which there may be hundreds: many messages go out in one call, and say all that the
kernel can be told. Elsewhere pyroute2 does this; of netem it knows neither rates, nor distributions, nor seeds.
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
_AT_ONCE: Final = 16  # messages; their answers must fit into the socket's buffer


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """An attribute with its header, padded to four bytes. Strings end with a zero byte; numbers are of 32 bits."""
    if isinstance(value, str):
        value = value.encode() + b"\0"
    if isinstance(value, int):
        value = struct.pack("=I", value)
    length = len(value) + 4
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request that will be acknowledged."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST_ACK, 0, 0) + body


class RouteSocket:
    """A routing socket in the network namespace that the thread is in when it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def __enter__(self) -> "RouteSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages, each made by :func:`message`, in their order; raises OSError for the first that is refused.

        Those that come after it are carried out all the same.
        """
        for begin in range(0, len(messages), _AT_ONCE):
            batch = messages[begin : begin + _AT_ONCE]
            self._socket.send(b"".join(batch))
            errors = [error for error in self._answers(len(batch)) if error]
            if errors:
                raise OSError(errors[0], os.strerror(errors[0]))

    def _answers(self, count: int) -> list[int]:
        """The errno of each answer."""
        errors: list[int] = []
        while len(errors) < count:
            answers = self._socket.recv(_LARGEST_ANSWER)
            while answers:
                length, kind, *_ = _HEADER.unpack_from(answers)
                if kind == _ERROR:
                    errors.append(-struct.unpack_from("=i", answers, _HEADER.size)[0])
                answers = answers[(length + 3) & ~3 :]
        return errors
