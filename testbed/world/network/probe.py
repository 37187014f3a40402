"""The probe: it sends frames over both directions of every link, and notes when they arrive.

    a: packet socket ──► ══ link ══ ──► packet socket: b        and the same from b to a

Each link is measured alone, whether its ends are nodes or switches, so all links can be measured at once. The frames
are plain Ethernet frames to a group address that no bridge forwards (01-80-C2-00-00-0E, reserved by IEEE 802.1Q), with
an EtherType that nothing else uses. A packet socket (packet(7)) on a bridge's port sends frames out of the port and
gets those that arrive. The frames wait in the link's queues like all others.

The kernel stamps a frame on arrival (SO_TIMESTAMPNS, socket(7)) by the clock that the sender reads. Delays are
therefore those of one direction, and only the sending is time-critical.

Times are in virtual time: in a dilated run the probe sends the same frames, slower by the dilation.
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
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.schema.network.link_trace import FRAME
from testbed.world.network.links.backend import End, Wiring

SMALL_FRAME: Final = 60
"""Bytes of the frames that measure delay: Ethernet's smallest frame, without its checksum."""

ETHERTYPE: Final = 0x88B5
"""The first of the two EtherTypes that IEEE 802 reserves for local experiments."""

_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
_TAG = struct.Struct("!4sII")  # this module's mark, the frame's number, and a checksum of both
_MARK = b"tb-p"
_HEADER = 14  # bytes of an Ethernet header

# asm-generic/socket.h; Python does not name them.
_SO_TIMESTAMPNS = 35
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_TIMESPEC = struct.Struct("@ll")
_BUFFER = 64 * 2**20  # bytes; frames that wait in a link count against the sender's buffer

_INTERVAL = 0.01  # seconds between two single frames of a direction
_SINGLE_FRAMES_PER_SECOND = 2000  # over all links; an eighth of what the relay forwarded without lateness
_FEWEST = 5  # single frames of a direction
_TRAIN_SECONDS = 0.25  # of the link's time per train
_TRAIN_FRAMES = (10, 250)  # in a train
_AT_ONCE = 200e6  # bit/s of simultaneous trains; with more, the host is measured and not the link
_HEADROOM = 1.1  # rate at which a train must be sent, in rates of the link, to fill it
_BEFORE = 2**31  # the number of the first frame that is sent before measuring
_MOST_WAITED = 60.0  # seconds for a link to become empty
_HOST_LATE = 0.02  # seconds by which a busy host delays a frame
_GRACE = 0.2  # seconds of lateness after which a frame counts as lost
_GLANCE = 0.01  # seconds between two reads; waking for each frame would disturb the links


@dataclass(frozen=True)
class Effort:
    """How much is sent over each direction: single small frames for ``seconds``, then ``trains`` trains."""

    seconds: float
    trains: int


QUICK: Final = Effort(seconds=0.5, trains=1)
FULL: Final = Effort(seconds=6.0, trains=5)


@dataclass(frozen=True)
class Observation:
    """The measurements of one direction.

    ``sent`` and ``received`` count frames without copies. ``delays`` are the end-to-end delays of single frames of
    :data:`SMALL_FRAME` bytes, in seconds. ``rates`` are the rates at which trains arrived, in bits per second. There
    are none where the direction has no bandwidth limit, a trace, or a limit above what the host can send.
    """

    sent: int
    received: int
    delays: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Train:
    """``frames`` frames of ``length`` bytes each, sent back to back."""

    frames: int
    length: int


def measure(
    links: Iterable[Wiring], effort: Effort, clock: Clock = REAL_TIME
) -> dict[Link, dict[DirectionName, Observation]]:
    """Measure both directions of every link. Raises OSError if an interface is gone."""
    with ExitStack() as stack:
        wires: dict[tuple[Link, DirectionName], _Wire] = {}
        before: list[_Wire] = []
        for wiring in links:
            link, a, b = wiring.link, *(stack.enter_context(_open(end)) for end in (wiring.a, wiring.b))
            wires[link, "up"], wires[link, "down"] = _Wire(link.up, a, b, clock), _Wire(link.down, b, a, clock)
            before += (_Wire(link.up, a, b, clock, _BEFORE), _Wire(link.down, b, a, clock, _BEFORE))
        _wait_until_empty(before, clock)
        _send_singly(list(wires.values()), effort.seconds, clock)
        for _ in range(effort.trains):
            for group in _together(wires.values()):
                _send_trains(group, clock)
        return {link: {direction: wires[link, direction].observed() for direction in DIRECTIONS} for link, _ in wires}


def _open(end: End) -> socket.socket:
    """A socket for this module's frames at one end of a link."""
    with end.namespace.entered():
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # 0: receives nothing until it is bound
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

    def __init__(
        self, direction: Direction, source: socket.socket, target: socket.socket, clock: Clock, first: int = 0
    ) -> None:
        """``first`` is the number of its first frame on the link; in here they count from 0."""
        self.direction = direction
        self._first = first
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
    def idle(self) -> bool:
        """Whether the last frame arrived, no later than over an idle link."""
        last, direction = len(self._sent) - 1, self.direction
        if last not in self._arrived:
            return False
        sending = SMALL_FRAME * 8 / direction.rate
        most = sending + direction.delay + 6 * direction.jitter.deviation + _HOST_LATE
        return self._seconds(self._arrived[last] - self._sent[last]) <= most

    @property
    def complete(self) -> bool:
        """Whether no frame is in transit: all have arrived, or the last one has and none overtakes."""
        last = len(self._sent) - 1
        return len(self._arrived) > last or (last in self._arrived and not self.direction.reorder)

    def send(self, length: int) -> None:
        """Send a frame of ``length`` bytes. A frame that the interface refuses counts as lost by the link."""
        number = len(self._sent)
        frame = (self._header + _tag(self._first + number)).ljust(length, b"\0")
        self._sent.append(time.time_ns())
        with suppress(OSError):
            self._source.send(frame)

    def send_singly(self) -> None:
        """Send a frame whose delay is measured."""
        self.send(SMALL_FRAME)
        self._single = len(self._sent)

    def receive(self) -> None:
        """Read the frames that have arrived."""
        with suppress(OSError):  # no more, or the interface is down
            while True:
                frame, ancillary, _, _ = self._target.recvmsg(_HEADER + _TAG.size, socket.CMSG_SPACE(_TIMESPEC.size))
                number = _number(frame)
                if number is not None and 0 <= number - self._first < len(self._sent):
                    self._arrived.setdefault(number - self._first, _stamp(ancillary))

    def send_train(self, train: Train) -> range:
        """Send a train; returns the numbers of its frames."""
        first = len(self._sent)
        for _ in range(train.frames):
            self.send(train.length)
        return range(first, first + train.frames)

    def take_rate(self, numbers: range, length: int) -> None:
        """Append the rate at which a train arrived, if it was sent fast enough to fill the link."""
        offered = self._seconds(self._sent[numbers[-1]] - self._sent[numbers[0]])
        if (len(numbers) - 1) * length * 8 < _HEADROOM * self.direction.rate * offered:
            return
        arrived = [self._seconds(self._arrived[number]) for number in numbers if number in self._arrived]
        if rate := arrival_rate(arrived, length):
            self._rates.append(rate)

    def observed(self) -> Observation:
        """The measurements so far."""
        delays = (
            self._seconds(self._arrived[number] - self._sent[number])
            for number in range(self._single)
            if number in self._arrived
        )
        return Observation(len(self._sent), len(self._arrived), tuple(delays), tuple(self._rates))

    def _seconds(self, nanoseconds: int) -> float:
        return self._clock.virtual(nanoseconds / 1e9)


def arrival_rate(times: Sequence[float], length: int) -> float | None:
    """The rate in bits per second at which frames of ``length`` bytes arrived, or None for fewer than four frames.

    It is computed from the median time between a frame and the one half a train later. The time from the first frame
    to the last would change with a few late, early or lost frames.
    """
    ordered, lag = sorted(times), len(times) // 2
    if lag < 2:
        return None
    between = median(later - earlier for earlier, later in zip(ordered, ordered[lag:], strict=False))
    return lag * length * 8 / between if between > 0 else None


def _wait_until_empty(wires: Sequence[_Wire], clock: Clock) -> None:
    """Wait until nothing is left in the links of what was sent before: a frame takes no longer than over an idle one.

    On a slow link the last responses of play need seconds. Links are not waited for whose delay tells nothing of their
    queue: they are cut, or follow a trace.
    """
    busy = [wire for wire in wires if not wire.direction.cut and wire.direction.trace is None]
    deadline = clock.now() + max((_longest_queue(wire.direction) for wire in busy), default=0.0)
    while busy:
        for wire in busy:
            wire.send(SMALL_FRAME)
        _receive(busy, clock)
        busy = [] if clock.now() >= deadline else [wire for wire in busy if not wire.idle]


def _longest_queue(direction: Direction) -> float:
    """Seconds for which what waits in a direction's queue can take, at most :data:`_MOST_WAITED`."""
    queue = direction.room
    if queue.seconds is not None:
        return min(_MOST_WAITED, queue.seconds)
    size = queue.bytes if queue.bytes is not None else (queue.packets or 0) * FRAME
    return min(_MOST_WAITED, size * 8 / direction.rate)


def _send_singly(wires: Sequence[_Wire], seconds: float, clock: Clock) -> None:
    """Send small frames, each when its link is idle. The directions take turns."""
    schedule = []
    for place, wire in enumerate(wires):
        interval = _interval(wire.direction, len(wires), seconds)
        count = max(_FEWEST, int(seconds / interval))
        schedule += [(interval * (number + place / len(wires)), place) for number in range(count)]
    begin = clock.now() + _INTERVAL  # the kernel starts to stamp frames with a delay
    for due, place in sorted(schedule):
        clock.sleep(max(0.0, begin + due - clock.now()))
        wires[place].send_singly()
    _receive(wires, clock)


def _interval(direction: Direction, wires: int, seconds: float) -> float:
    """Seconds between single frames: the link is idle half of the time, and the order of frames limits no jitter."""
    free = 2 * SMALL_FRAME * 8 / direction.rate
    settled = min(6 * direction.jitter.deviation, seconds / _FEWEST)
    return max(_INTERVAL, wires / _SINGLE_FRAMES_PER_SECOND, free, settled)


def _send_trains(wires: Sequence[_Wire], clock: Clock) -> None:
    sent = [(wire, wire.send_train(train), train.length) for wire in wires if (train := wire.train)]
    _receive(wires, clock)
    for wire, numbers, length in sent:
        wire.take_rate(numbers, length)


def train_over(direction: Direction) -> Train | None:
    """A train of about :data:`_TRAIN_SECONDS` that fits the queue, or None where no train can show the rate."""
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
    """The directions with trains, in groups that the host can carry at the same time."""
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
    """Wait until every frame has arrived or counts as lost."""
    deadline = clock.now() + max((_longest(wire) for wire in wires), default=0.0) + _GRACE
    while not all(wire.complete for wire in wires) and clock.now() < deadline:
        clock.sleep(_GLANCE)
        for wire in wires:
            wire.receive()


def _longest(wire: _Wire) -> float:
    """Seconds until a frame that is sent now has arrived, by the direction's properties."""
    direction = wire.direction
    train = wire.train.frames * wire.train.length * 8 / direction.rate if wire.train else 0.0
    return train + direction.delay + 6 * direction.jitter.deviation


def _tag(number: int) -> bytes:
    return _TAG.pack(_MARK, number, zlib.crc32(_MARK + number.to_bytes(4)))


def _number(frame: bytes) -> int | None:
    """The number of one of this module's frames, or None for a foreign or corrupted frame."""
    tag = frame[_HEADER:]
    if len(tag) < _TAG.size:
        return None
    number = int.from_bytes(tag[4:8])
    return number if tag == _tag(number) else None


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The time of a frame's arrival, in nanoseconds of CLOCK_REALTIME."""
    ((_, _, data),) = ancillary
    seconds, nanoseconds = _TIMESPEC.unpack(data)
    return int(seconds) * 10**9 + int(nanoseconds)
