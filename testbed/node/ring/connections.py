"""The connections of a ring: a node keeps one to the next, and hears the one before it.

Frames go one way only. Who has nothing to say says that it is there (:class:`~.messages.Alive`), so silence means that
a node is dead, hangs or is cut off. Who listens notices by itself; who sends is told by the kernel (TCP_USER_TIMEOUT),
and connects anew until that succeeds.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from testbed.clock import Clock
from testbed.node.ring.frames import HEADER_BYTES, Format, Frame, LostTrackError, read_frame
from testbed.node.ring.messages import Alive, FrameError, Loss, Reset

_SIGNS: Final = 4  # of life that are sent in the time after which silence means loss
_LOOKS: Final = 8  # at whether something was heard, in that time
_AGAIN: Final = 0.1  # seconds between two attempts to connect
_BUFFER: Final = 2**20  # bytes that are read ahead of the frame that is read


class Outgoing:
    """The connection of ``stage`` to the next node, at ``port`` of ``host``.

    What is sent while there is none is lost, but for a reset: the last one is sent as soon as there is one again,
    unless a stage is lost meanwhile that the reset has been through.
    """

    def __init__(self, stage: int, host: str, port: int, layout: Format, detect: float, clock: Clock) -> None:
        self._stage = stage
        self._host = host
        self._port = port
        self._layout = layout
        self._detect = detect
        self._patience = round(clock.real(detect) * 1000)  # milliseconds of the kernel's clock
        self._writer: asyncio.StreamWriter | None = None
        self._silent = True
        self._kept: Frame | None = None

    def send(self, frame: Frame) -> None:
        """Send a frame, or lose it."""
        if self._writer is not None:
            self._writer.write(self._layout.write(frame))
            self._silent = False
        elif isinstance(frame.message, Reset):
            self._kept = frame
        elif isinstance(frame.message, Loss):
            self._kept = None

    def turn_to(self, host: str) -> None:
        """Connect to another node from now on."""
        if host != self._host:
            self._host = host
            if self._writer is not None:
                self._writer.transport.abort()
                self._writer = None

    async def run(self) -> None:
        """Keep up the connection for ever."""
        while True:
            with suppress(OSError):
                await self._hold()
            await asyncio.sleep(_AGAIN)

    async def _hold(self) -> None:
        """Connect, and stay until the connection breaks; raises OSError if it does not end well."""
        async with asyncio.timeout(self._detect):
            reader, writer = await asyncio.open_connection(self._host, self._port)
        endpoint: socket.socket = writer.get_extra_info("socket")
        endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._patience)
        self._writer = writer
        self.send(Frame(0, Alive(self._stage)))
        if self._kept is not None:
            self.send(self._kept)
            self._kept = None
        signs = asyncio.create_task(self._show_life())
        try:
            while await reader.read(_BUFFER):  # nothing comes back on it but its end
                pass
        finally:
            if self._writer is writer:
                self._writer = None
            signs.cancel()
            writer.transport.abort()

    async def _show_life(self) -> None:
        while True:
            if self._silent:
                self.send(Frame(0, Alive(self._stage)))
            self._silent = True
            await asyncio.sleep(self._detect / _SIGNS)


class Incoming:
    """What comes in. ``take`` gets every frame, ``reject`` what is none; ``lose`` is called when ``before``, the stage
    before, falls silent, or its connection ends.

    Anyone may connect. Who sends bytes after which no frame can be found is not listened to any longer.
    """

    def __init__(
        self,
        before: int,
        layout: Format,
        detect: float,
        take: Callable[[Frame], None],
        lose: Callable[[], None],
        reject: Callable[[FrameError], None],
    ) -> None:
        self.before = before
        self._layout = layout
        self._detect = detect
        self._take = take
        self._lose = lose
        self._reject = reject
        self._heard: asyncio.StreamReader | None = None  # the connection that is alive
        self._quiet = 0  # looks in a row that found that nothing was heard on it
        self._connections: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, host: str, port: int) -> None:
        """Listen for ever."""
        try:
            async with await asyncio.start_server(self._serve, host, port, limit=_BUFFER):
                await self._watch()
        finally:
            self._closed = True
            for connection in list(self._connections):
                connection.cancel()

    def expect(self, before: int) -> None:
        """Another stage is before from now on."""
        if before != self.before:
            self.before, self._heard = before, None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it came in the last moment
            writer.transport.abort()
            return
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._listen(reader)
        except LostTrackError as error:
            self._reject(error)
        except asyncio.IncompleteReadError as error:
            count = error.expected or 0
            if error.partial or count != HEADER_BYTES:
                self._reject(FrameError(f"it ends {count - len(error.partial)} bytes too early"))
        except OSError:
            pass  # the connection is broken
        finally:
            self._connections.discard(connection)
            writer.transport.abort()
        if reader is self._heard:
            self._fall_silent()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                frame = await read_frame(partial(self._exactly, reader), self._layout)
            except LostTrackError:
                raise
            except FrameError as error:
                self._reject(error)
                continue
            match frame.message:
                case Alive(stage) if stage == self.before:
                    self._hear(reader)
                case Alive():
                    pass  # it was the stage before, and does not know yet that it is not any more
                case _:
                    self._take(frame)

    def _hear(self, reader: asyncio.StreamReader) -> None:
        """The stage before is there. On a new connection: then what it sent on the old one may be lost."""
        if self._heard not in (None, reader):
            self._lose()
        self._heard, self._quiet = reader, 0

    async def _exactly(self, reader: asyncio.StreamReader, count: int) -> bytes:
        """The next ``count`` bytes. On a slow link a frame is long on its way; as long as it comes, there is life."""
        data = bytearray()
        while len(data) < count:
            if not (piece := await reader.read(count - len(data))):
                raise asyncio.IncompleteReadError(bytes(data), count)
            data += piece
            if reader is self._heard:
                self._quiet = 0
        return bytes(data)

    async def _watch(self) -> None:
        """Look for silence. Looks are counted and not seconds: who stood still itself must first hear what came in."""
        while True:
            await asyncio.sleep(self._detect / _LOOKS)
            self._quiet += 1
            if self._heard is not None and self._quiet == _LOOKS:
                self._fall_silent()

    def _fall_silent(self) -> None:
        self._heard = None
        self._lose()
