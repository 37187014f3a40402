"""The connections of a ring: each node keeps one to the next node, and accepts one from the node before.

Frames go in one direction. A node without other frames to send sends :class:`~.messages.Alive`, so silence means that
it is dead, hangs or is cut off. The receiver notices silence itself. The kernel tells the sender (TCP_USER_TIMEOUT),
which then reconnects until it succeeds.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from testbed.core.clock import Clock
from testbed.node.ring.wire.frames import Format, Frame, FrameReader, LostTrackError
from testbed.node.ring.wire.messages import Alive, FrameError, Loss, Reset
from testbed.node.transport.door import Door
from testbed.node.transport.streams import Outlet, connect, listening

_SIGNS: Final = 4  # of life that are sent in the time after which silence means loss
_LOOKS: Final = 8  # at whether something was heard, in that time
_AGAIN: Final = 0.1  # seconds between two attempts to connect


class Outgoing:
    """The connection of ``stage`` to the next node, at ``port`` of ``host``.

    Frames sent without a connection are lost, except a reset: the last reset is sent once the connection is there
    again, unless a stage that it has passed is lost in the meantime.
    """

    def __init__(
        self, stage: int, host: str, port: int, layout: Format, detect: float, clock: Clock, door: Door
    ) -> None:
        self._stage = stage
        self._host = host
        self._port = port
        self._layout = layout
        self._detect = detect
        self._patience = clock.real(detect)
        self._door = door
        self._outlet: Outlet | None = None
        self._silent = True
        self._kept: Frame | None = None

    def send(self, frame: Frame) -> None:
        """Send a frame. Without a connection it is lost."""
        if self._outlet is not None:
            self._outlet.write(self._layout.write(frame))
            self._silent = False
        elif isinstance(frame.message, Reset):
            self._kept = frame
        elif isinstance(frame.message, Loss):
            self._kept = None

    def turn_to(self, host: str) -> None:
        """Connect to the node at ``host`` from now on."""
        if host != self._host:
            self._host = host
            if self._outlet is not None:
                self._outlet.abort()
                self._outlet = None

    async def run(self) -> None:
        """Keep the connection for ever."""
        while True:
            with suppress(OSError):
                await self._hold()
            await asyncio.sleep(_AGAIN)

    async def _hold(self) -> None:
        """Connect, and hold the connection until it ends; raises OSError if it fails."""
        async with asyncio.timeout(self._detect):
            outlet = await connect(self._host, self._port, self._patience, self._door)
        self._outlet = outlet
        self.send(Frame(0, Alive(self._stage)))
        if self._kept is not None:
            self.send(self._kept)
            self._kept = None
        signs = asyncio.create_task(self._show_life())
        try:
            await outlet.ended()
        finally:
            if self._outlet is outlet:
                self._outlet = None
            signs.cancel()
            outlet.abort()

    async def _show_life(self) -> None:
        while True:
            if self._silent:
                self.send(Frame(0, Alive(self._stage)))
            self._silent = True
            await asyncio.sleep(self._detect / _SIGNS)


class Incoming:
    """Accepts connections, and reads frames. ``take`` is called with every frame, ``reject`` with every invalid one.

    ``lose`` is called when ``before``, the stage before, falls silent or its connection ends. Whom the door lets in may
    connect. Where the door knows the sender, ``stage_of`` says which stage that is, or refuses it. A connection is
    closed when bytes come on it after which no frame can be found.
    """

    def __init__(
        self,
        before: int,
        layout: Format,
        detect: float,
        take: Callable[[Frame], None],
        lose: Callable[[], None],
        reject: Callable[[FrameError], None],
        stage_of: Callable[[str], int],
    ) -> None:
        self.before = before
        self.reject = reject
        self._layout = layout
        self._detect = detect
        self._take = take
        self._lose = lose
        self._stage_of = stage_of
        self._heard: _Connection | None = None  # the one that is alive
        self._quiet = 0  # looks in a row that found that nothing was heard on it
        self._connections: set[_Connection] = set()
        self._closed = False

    async def run(self, host: str, port: int, door: Door) -> None:
        """Listen for ever."""
        try:
            async with listening(self._accept, host, port, door):
                await self._watch()
        finally:
            self._closed, self._heard = True, None
            for connection in self._connections:
                connection.end()

    def expect(self, before: int) -> None:
        """Take the stage ``before`` for the one before from now on."""
        if before != self.before:
            self.before, self._heard = before, None

    def _accept(self, sender: str | None) -> "_Connection":
        stage = None if sender is None else self._stage_of(sender)
        return _Connection(self, FrameReader(self._layout), stage)

    def begin(self, connection: "_Connection") -> None:
        """Register a new connection."""
        if self._closed:  # in the last moment
            connection.end()
        self._connections.add(connection)

    def lost(self, connection: "_Connection") -> None:
        """Remove a connection that has ended."""
        self._connections.discard(connection)
        if connection is self._heard:
            self._fall_silent()

    def note_life(self, connection: "_Connection") -> None:
        """Note that bytes came: on a slow link, a single frame may take longer than ``detect``."""
        if connection is self._heard:
            self._quiet = 0

    def receive(self, frame: Frame, connection: "_Connection") -> None:
        """Process a frame."""
        match frame.message:
            case Alive(stage) if connection.stage not in (None, stage):
                self.reject(FrameError(f"stage {connection.stage} says that it is stage {stage}"))
            case Alive(stage) if stage == self.before:
                self._hear(connection)
            case Alive():
                pass  # it was the stage before, and does not know yet that it is not any more
            case _:
                self._take(frame)

    def _hear(self, connection: "_Connection") -> None:
        """Note that the stage before lives. On a new connection, frames on the old one may be lost."""
        if self._heard not in (None, connection):
            self._lose()
        self._heard, self._quiet = connection, 0

    async def _watch(self) -> None:
        """Look for silence. Looks are counted, not seconds: a node that was stopped must first read what came in."""
        while True:
            await asyncio.sleep(self._detect / _LOOKS)
            self._quiet += 1
            if self._heard is not None and self._quiet == _LOOKS:
                self._fall_silent()

    def _fall_silent(self) -> None:
        self._heard = None
        self._lose()


class _Connection(asyncio.Protocol):
    """One accepted connection. A frame is processed in the step of the event loop in which its last bytes come: every
    further step would be time in which the stage does not compute.

    ``stage`` is that of the sender, None where nothing proves it."""

    def __init__(self, incoming: Incoming, frames: FrameReader, stage: int | None) -> None:
        self._incoming = incoming
        self._frames = frames
        self.stage = stage
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = transport
        self._incoming.begin(self)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with the next bytes."""
        self._incoming.note_life(self)
        self._frames.feed(data)
        try:
            while self._next():
                pass
        except LostTrackError as error:
            self._incoming.reject(error)
            self.end()

    def eof_received(self) -> None:
        """Called by asyncio at the end of the stream."""
        if self._frames.missing:
            self._incoming.reject(FrameError(f"it ends {self._frames.missing} bytes too early"))

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio when the connection has ended, on either side."""
        del error
        self._incoming.lost(self)

    def end(self) -> None:
        """Close the connection at once."""
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.abort()

    def _next(self) -> bool:
        """Read one frame, and return whether there was one, valid or not; raises LostTrackError."""
        try:
            frame = self._frames.next()
        except LostTrackError:
            raise
        except FrameError as error:
            self._incoming.reject(error)
            return True
        if frame is not None:
            self._incoming.receive(frame, self)
        return frame is not None
