"""What links really do: frames that are sent over every direction of every link, and when they arrive.

    a: packet socket ──► ══ link ══ ──► packet socket: b        and the same from b to a

Every link is measured by itself, whether its ends are nodes or switches, and so all can be measured at once. The frames
are Ethernet's own, without addresses of IP. They go to a group address that no bridge forwards (01-80-C2-00-00-0E, a
reserved address of IEEE 802.1Q) and carry an EtherType that nothing else uses. On a bridge's port a packet socket
(packet(7)) sends what goes out there and gets what comes in. They wait in the queues of the link like all others.

The kernel stamps a frame as it comes in (SO_TIMESTAMPNS, socket(7)), by the clock that the sender reads. So delays are
those of one way, and nothing here has to be on time but the sending.

All of it goes by the run's clock: in a dilated run the same frames are sent, that much slower.
"""

import socket
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from statistics import median
from typing import Final

from testbed.core.clock import REAL_TIME, Clock
from testbed.schema.network.link import DIRECTIONS, Direction, DirectionName, Link
from testbed.schema.network.link_trace import FRAME
from testbed.world.network.links.backend import End, Wiring

SMALL_FRAME: Final = 60
"""Bytes of the frames that measure delay: the smallest of Ethernet, without its checksum."""

ETHERTYPE: Final = 0x88B5
"""The first of two that IEEE 802 sets aside for local experiments."""

_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
_TAG = struct.Struct("!4sII")  # this module's mark, the frame's number, and a checksum of both
_MARK = b"tb-p"
_HEADER = 14  # bytes of an Ethernet header

# asm-generic/socket.h; Python does not name them.
_SO_TIMESTAMPNS = 35
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_TIMESPEC = struct.Struct("@ll")
_BUFFER = 64 * 2**20  # bytes; frames that wait in a link still count as the sender's

_INTERVAL = 0.01  # seconds between two single frames of a direction
_SINGLE_FRAMES_PER_SECOND = 2000  # over all links; the relay was seen to forward eight times as many in time
_FEWEST = 5  # single frames of a direction
_TRAIN_SECONDS = 0.25  # that a train takes to be sent by its link
_TRAIN_FRAMES = (10, 250)  # in a train
_AT_ONCE = 200e6  # bit/s of trains on all links together; a host that cannot carry more would be measured, not a link
_HEADROOM = 1.1  # times the link's rate that a train must be offered with to fill it
_GRACE = 0.2  # seconds that a frame may be later than asked before it counts as lost
_GLANCE = 0.01  # seconds between two looks at what has come in; to wake up for each frame would disturb the links


@dataclass(frozen=True)
class Effort:
    """How much is sent over each direction: for so many ``seconds`` single small frames, and then ``trains``."""

    seconds: float
    trains: int


QUICK: Final = Effort(seconds=0.5, trains=1)
FULL: Final = Effort(seconds=6.0, trains=5)


@dataclass(frozen=True)
class Observation:
    """What became of the frames of one direction.

    ``sent`` and ``received`` count all frames, copies not counted. ``delays`` are seconds that single frames of
    :data:`SMALL_FRAME` bytes took from end to end. ``rates`` are bits per second at which trains of frames arrived that
    were sent without a pause; empty where the direction has no limit, or one that changes, or more than can be sent.
    """

    sent: int
    received: int
    delays: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Train:
    """So many frames of so many bytes, back to back."""

    frames: int
    length: int


def measure(
    links: Iterable[Wiring], effort: Effort, clock: Clock = REAL_TIME
) -> dict[Link, dict[DirectionName, Observation]]:
    """Measure both directions of every link; raises OSError if an end is gone."""
    with ExitStack() as stack:
        wires: dict[tuple[Link, DirectionName], _Wire] = {}
        for wiring in links:
            link, a, b = wiring.link, *(stack.enter_context(_open(end)) for end in (wiring.a, wiring.b))
            wires[link, "up"], wires[link, "down"] = _Wire(link.up, a, b, clock), _Wire(link.down, b, a, clock)
        _send_singly(list(wires.values()), effort.seconds, clock)
        for _ in range(effort.trains):
            for group in _together(wires.values()):
                _send_trains(group, clock)
        return {link: {direction: wires[link, direction].observed() for direction in DIRECTIONS} for link, _ in wires}


def _open(end: End) -> socket.socket:
    """A socket for this module's frames at one end of a link."""
    with end.namespace.entered():
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: nothing is received until it is bound
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    try:
        opened.bind((end.interface, ETHERTYPE))
    except OSError:
        opened.close()
        raise
    return opened


class _Wire:
    """One direction of a link while it is measured."""

    def __init__(self, direction: Direction, source: socket.socket, target: socket.socket, clock: Clock) -> None:
        self.direction = direction
        self._clock = clock
        self.train = train_over(direction)
        self._source = source
        self._target = target
        self._header = _NEAREST_BRIDGE + source.getsockname()[4] + ETHERTYPE.to_bytes(2)
        self._sent: list[int] = []  # nanoseconds of CLOCK_REALTIME, by the frame's number
        self._arrived: dict[int, int] = {}
        self._single = 0  # the frames before this number were sent singly
        self._rates: list[float] = []

    @property
    def complete(self) -> bool:
        """Whether nothing is on its way any more: all has arrived, or the last, which nothing overtakes."""
        last = len(self._sent) - 1
        return len(self._arrived) > last or (last in self._arrived and not self.direction.reorder)

    def send(self, length: int) -> None:
        """Send a frame of ``length`` bytes. What an interface does not take is lost, like what the link loses."""
        number = len(self._sent)
        frame = (self._header + _tag(number)).ljust(length, b"\0")
        self._sent.append(time.time_ns())
        with suppress(OSError):
            self._source.send(frame)

    def send_singly(self) -> None:
        """Send a frame whose delay counts."""
        self.send(SMALL_FRAME)
        self._single = len(self._sent)

    def receive(self) -> None:
        """Take in what has arrived."""
        with suppress(OSError):  # no more, or the interface is down
            while True:
                frame, ancillary, _, _ = self._target.recvmsg(_HEADER + _TAG.size, socket.CMSG_SPACE(_TIMESPEC.size))
                number = _number(frame)
                if number is not None and number < len(self._sent):
                    self._arrived.setdefault(number, _stamp(ancillary))

    def send_train(self, train: Train) -> range:
        """Send a train; returns the numbers of its frames."""
        first = len(self._sent)
        for _ in range(train.frames):
            self.send(train.length)
        return range(first, first + train.frames)

    def take_rate(self, numbers: range, length: int) -> None:
        """Note the rate at which a train arrived, if it was sent fast enough to fill the link."""
        offered = self._seconds(self._sent[numbers[-1]] - self._sent[numbers[0]])
        if (len(numbers) - 1) * length * 8 < _HEADROOM * self.direction.rate * offered:
            return
        arrived = [self._seconds(self._arrived[number]) for number in numbers if number in self._arrived]
        if rate := arrival_rate(arrived, length):
            self._rates.append(rate)

    def observed(self) -> Observation:
        """All that is known by now."""
        delays = (
            self._seconds(self._arrived[number] - self._sent[number])
            for number in range(self._single)
            if number in self._arrived
        )
        return Observation(len(self._sent), len(self._arrived), tuple(delays), tuple(self._rates))

    def _seconds(self, nanoseconds: int) -> float:
        return self._clock.virtual(nanoseconds / 1e9)


def arrival_rate(times: Sequence[float], length: int) -> float | None:
    """Bits per second at which frames of ``length`` bytes arrived; None of too few.

    It is that between a frame and the one half a train later, in the median: a few frames that came late, early or not
    at all do not change it, as they would the time from the first to the last.
    """
    ordered, lag = sorted(times), len(times) // 2
    if lag < 2:
        return None
    between = median(later - earlier for earlier, later in zip(ordered, ordered[lag:], strict=False))
    return lag * length * 8 / between if between > 0 else None


def _send_singly(wires: Sequence[_Wire], seconds: float, clock: Clock) -> None:
    """Send small frames, each on a link that is free; those of different directions take turns."""
    schedule = []
    for place, wire in enumerate(wires):
        interval = _interval(wire.direction, len(wires), seconds)
        count = max(_FEWEST, int(seconds / interval))
        schedule += [(interval * (number + place / len(wires)), place) for number in range(count)]
    begin = clock.now() + _INTERVAL  # the kernel begins to stamp frames a moment after it was asked to
    for due, place in sorted(schedule):
        clock.sleep(max(0.0, begin + due - clock.now()))
        wires[place].send_singly()
    _receive(wires, clock)


def _interval(direction: Direction, wires: int, seconds: float) -> float:
    """So long that the link is free half of the time, and that jitter is not limited by the frame before."""
    free = 2 * SMALL_FRAME * 8 / direction.rate
    settled = min(6 * direction.jitter.deviation, seconds / _FEWEST)
    return max(_INTERVAL, wires / _SINGLE_FRAMES_PER_SECOND, free, settled)


def _send_trains(wires: Sequence[_Wire], clock: Clock) -> None:
    sent = [(wire, wire.send_train(train), train.length) for wire in wires if (train := wire.train)]
    _receive(wires, clock)
    for wire, numbers, length in sent:
        wire.take_rate(numbers, length)


def train_over(direction: Direction) -> Train | None:
    """A train that takes :data:`_TRAIN_SECONDS` where that can be, and fits the queue; None where it shows nothing."""
    if direction.cut or direction.bandwidth is None:
        return None
    fewest, most = _TRAIN_FRAMES
    size = direction.rate * _TRAIN_SECONDS / 8
    length = min(FRAME, max(SMALL_FRAME, int(size / fewest)))
    frames = min(most, max(fewest, int(size / length)), _room(direction, length))
    return Train(frames, length) if frames >= fewest / 2 else None


def _room(direction: Direction, length: int) -> int:
    """Frames of ``length`` bytes that the direction's queue holds."""
    queue = direction.room
    if queue.packets is not None:
        return queue.packets
    size = queue.bytes if queue.bytes is not None else (queue.seconds or 0.0) * direction.rate / 8
    return int(size / length)


def _together(wires: Iterable[_Wire]) -> Iterator[list[_Wire]]:
    """The directions that have trains, in groups that the host can carry at once."""
    group: list[_Wire] = []
    for wire in wires:
        if wire.train is None:
            continue
        if group and sum(other.direction.rate for other in (*group, wire)) > _AT_ONCE:
            yield group
            group = []
        group.append(wire)
    if group:
        yield group


def _receive(wires: Sequence[_Wire], clock: Clock) -> None:
    """Wait until all has arrived that was sent, or is lost."""
    deadline = clock.now() + max((_longest(wire) for wire in wires), default=0.0) + _GRACE
    while not all(wire.complete for wire in wires) and clock.now() < deadline:
        clock.sleep(_GLANCE)
        for wire in wires:
            wire.receive()


def _longest(wire: _Wire) -> float:
    """Seconds that what was sent now may take, as asked."""
    direction = wire.direction
    train = wire.train.frames * wire.train.length * 8 / direction.rate if wire.train else 0.0
    return train + direction.delay + 6 * direction.jitter.deviation


def _tag(number: int) -> bytes:
    return _TAG.pack(_MARK, number, zlib.crc32(_MARK + number.to_bytes(4)))


def _number(frame: bytes) -> int | None:
    """The number of one of this module's frames; None of another's, and of one that was corrupted there."""
    tag = frame[_HEADER:]
    if len(tag) < _TAG.size:
        return None
    number = int.from_bytes(tag[4:8])
    return number if tag == _tag(number) else None


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When the kernel got a frame, in nanoseconds of CLOCK_REALTIME."""
    ((_, _, data),) = ancillary
    seconds, nanoseconds = _TIMESPEC.unpack(data)
    return int(seconds) * 10**9 + int(nanoseconds)
