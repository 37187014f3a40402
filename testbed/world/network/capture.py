"""The frames of a link as a file that Wireshark opens: pcapng (draft-ietf-opsawg-pcapng), with a limit of size.

A packet socket (packet(7)) at one end of the link sees both directions: what is sent there, before the link delays or
loses it, and what has arrived.
"""

import socket
import struct
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from testbed.world.network.links.backend import End, Wiring

LIMIT: Final = 64 * 2**20
"""Bytes of the file of one link, unless something else is asked for."""

_ALL: Final = 0x0003  # ETH_P_ALL, linux/if_ether.h
_SOL_PACKET, _STATISTICS = 263, 6  # linux/socket.h, linux/if_packet.h
_LONGEST: Final = 2**17  # bytes of a frame, segments that the kernel has put together included
_WAITING: Final = 2**23  # bytes of frames that wait to be read
_LOOK: Final = 0.1  # seconds between two looks at whether the capture is over

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_ETHERNET: Final = 1
_NAME, _RESOLUTION, _END = 2, 9, 0  # options of an interface
_NANOSECONDS: Final = 9


class Capture:
    """Records the frames of a link in a thread, from its creation until it is closed.

    ``frames`` are those in the file, ``missed`` those that came when the file was full or the host too busy.
    """

    def __init__(self, link: Wiring, path: Path, limit: int = LIMIT) -> None:
        """Raises OSError if the file cannot be made."""
        self.path = path
        self.frames = 0
        self.missed = 0
        self._limit = limit
        self._socket = _listening(_end(link))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._record, name=f"capture of {link.link.name}")
        try:
            self._file = path.open("wb")
        except OSError:
            self._socket.close()
            raise
        self._size = self._file.write(_beginning(link.link.name))
        self._file.flush()  # whoever waits for the file knows that frames are recorded from now on
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the capture; the file is complete then."""
        self._over.set()
        self._thread.join()

    def _record(self) -> None:
        with closing(self._socket), self._file:
            while not self._over.is_set():
                try:
                    frame = self._socket.recv(_LONGEST)
                except TimeoutError:
                    continue
                except OSError:  # the interface has gone
                    break
                self._write(frame)
            _, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
            self.missed += dropped

    def _write(self, frame: bytes) -> None:
        block = _packet(frame, time.time_ns())
        if self._size + len(block) > self._limit:
            self.missed += 1
            return
        self._size += self._file.write(block)
        self.frames += 1


def _end(link: Wiring) -> End:
    """The end at a switch, if there is one: a node's end leaves its namespace when the node is started again."""
    return link.b if link.b.interface.startswith(link.link.b) else link.a


def _listening(end: End) -> socket.socket:
    with end.namespace.entered():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # nothing comes before it is bound
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WAITING)
        made.settimeout(_LOOK)
        made.bind((end.interface, _ALL))
    return made


def _beginning(name: str) -> bytes:
    section = _block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))
    options = _option(_NAME, name.encode()) + _option(_RESOLUTION, bytes([_NANOSECONDS])) + _option(_END, b"")
    return section + _block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0) + options)


def _packet(frame: bytes, nanoseconds: int) -> bytes:
    high, low = divmod(nanoseconds, 2**32)
    return _block(_PACKET, struct.pack("<IIIII", 0, high, low, len(frame), len(frame)) + _padded(frame))


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
