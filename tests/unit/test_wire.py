"""The wires of the relay, in virtual time: when a frame arrives, which frames do, and what a change makes of them."""

import ctypes
import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from statistics import pstdev

import pytest

from testbed.schema.network.direction import Direction, Jitter, Loss, Queue
from testbed.schema.network.link_trace import FRAME, LinkTrace
from testbed.world.network.links.relay import library
from testbed.world.network.links.userspace import WireProperties, nanoseconds

LIBC = ctypes.CDLL(None)
SECOND = 1_000_000_000
NEVER = 2**63 - 1


class Frame(ctypes.Structure):
    """``struct frame`` of wire.h."""


Frame._fields_ = [
    ("next", ctypes.POINTER(Frame)),
    ("accepted", ctypes.c_int64),
    ("due", ctypes.c_int64),
    ("size", ctypes.c_size_t),
    ("bytes", ctypes.c_ubyte * 4),  # and more
]


class Wire:
    """A wire, in seconds. ``arrivals`` are the times and the numbers of the frames that have come out of it."""

    def __init__(self, direction: Direction, seed: int = 1) -> None:
        self._library = library()
        self._library.wire_new.restype = ctypes.c_void_p
        self._library.wire_arrived.restype = ctypes.POINTER(Frame)
        self._library.wire_next_event.restype = ctypes.c_int64
        self._library.frame_of.restype = ctypes.POINTER(Frame)
        self._wire = ctypes.c_void_p(self._library.wire_new(ctypes.c_uint64(seed)))
        self._number = 0
        self.arrivals: list[tuple[float, int]] = []
        self.shape(direction, 0.0)

    def shape(self, direction: Direction, now: float) -> None:
        self._take_what_comes_by(now)
        times = nanoseconds(direction.trace) if direction.trace else None
        self._library.wire_shape(self._wire, ctypes.byref(WireProperties.of(direction)), times, _nanoseconds(now))

    def send(self, now: float, size: int = FRAME) -> None:
        self._take_what_comes_by(now)
        content = self._number.to_bytes(4).ljust(size, b"\0")
        frame = self._library.frame_of(content, ctypes.c_size_t(size))
        self._number += 1
        self._library.wire_accept(self._wire, frame, _nanoseconds(now))

    def all_arrivals(self) -> list[tuple[float, int]]:
        """Once it has run empty."""
        while (event := self._library.wire_next_event(self._wire)) != NEVER:
            self._take(event)
        return self.arrivals

    def _take_what_comes_by(self, now: float) -> None:
        while (event := self._library.wire_next_event(self._wire)) <= now * SECOND:
            self._take(event)

    def _take(self, event: int) -> None:
        while frame := self._library.wire_arrived(self._wire, ctypes.c_int64(event)):
            number = int.from_bytes(bytes(frame.contents.bytes[:4]))
            self.arrivals.append((frame.contents.due / SECOND, number))
            LIBC.free(frame)


def _nanoseconds(seconds: float) -> ctypes.c_int64:
    return ctypes.c_int64(round(seconds * SECOND))


def _times(wire: Wire) -> list[float]:
    return [time for time, _ in wire.all_arrivals()]


def _numbers(wire: Wire) -> list[int]:
    return [number for _, number in wire.all_arrivals()]


def test_a_frame_on_an_idle_wire_takes_its_size_over_the_bandwidth_and_the_delay() -> None:
    wire = Wire(Direction(bandwidth=8e6, delay=0.01))
    wire.send(5.0, size=1000)
    assert _times(wire) == pytest.approx([5.0 + 0.001 + 0.01])


def test_a_wire_without_bandwidth_has_the_delay_alone_and_is_never_full() -> None:
    wire = Wire(Direction(delay=0.25, queue=Queue(packets=1)))
    for _ in range(5000):
        wire.send(1.0)
    assert _times(wire) == [1.25] * 5000


def test_frames_that_come_together_are_sent_one_after_the_other() -> None:
    wire = Wire(Direction(bandwidth=8e6, delay=0.01))
    for _ in range(4):
        wire.send(0.0, size=1000)
    assert _times(wire) == pytest.approx([0.011, 0.012, 0.013, 0.014])


def test_a_wire_that_was_idle_saves_up_nothing() -> None:
    wire = Wire(Direction(bandwidth=8e6))
    wire.send(0.0, size=1000)
    wire.send(9.0, size=1000)
    assert _times(wire) == pytest.approx([0.001, 9.001])


@pytest.mark.parametrize(
    "queue", [Queue(packets=10), Queue(bytes=10 * FRAME), Queue(seconds=10 * FRAME * 8 / 8e6)], ids=str
)
def test_a_full_queue_drops_and_takes_again_once_it_has_drained(queue: Queue) -> None:
    wire = Wire(Direction(bandwidth=8e6, queue=queue))
    for _ in range(20):
        wire.send(0.0)
    wire.send(3 * FRAME * 8 / 8e6)
    assert _numbers(wire) == [*range(11), 20], "ten wait besides the one that is being sent; what is dropped comes last"


@pytest.mark.parametrize("seed", range(10))
def test_no_more_than_the_bandwidth_passes_and_nothing_overtakes(seed: int) -> None:
    draw = random.Random(seed)
    bandwidth, delay = draw.uniform(1e5, 1e9), draw.uniform(0, 0.1)
    wire, now, sent = Wire(Direction(bandwidth, delay, Jitter(delay / 2))), 0.0, []
    for _ in range(500):
        now += draw.expovariate(bandwidth / 8 / 800)
        sent.append((now, draw.randint(60, FRAME)))
        wire.send(*sent[-1])
    before, free = 0.0, 0.0
    for time, number in wire.all_arrivals():
        accepted, size = sent[number]
        free = max(free, accepted) + size * 8 / bandwidth
        assert time >= max(before, free) - 1e-6
        before = time
    assert _numbers(wire) == list(range(500))


@pytest.mark.parametrize("distribution", ["normal", "uniform", "pareto"])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_jitter_has_its_deviation_and_its_correlation(distribution: str, correlation: float) -> None:
    jitter = Jitter(0.005, distribution, correlation)  # type: ignore[arg-type]
    wire = Wire(Direction(delay=0.050, jitter=jitter))
    for second in range(20_000):
        wire.send(float(second))
    delays = [time % 1 for time in _times(wire)]
    mean = sum(delays) / len(delays)
    assert mean == pytest.approx(0.050, abs=0.0005)
    assert pstdev(delays) == pytest.approx(0.005, rel=0.08)
    covariance = sum((a - mean) * (b - mean) for a, b in pairwise(delays)) / len(delays)
    assert covariance / pstdev(delays) ** 2 == pytest.approx(correlation, abs=0.12)


def test_losses_come_in_bursts_as_the_channel_says() -> None:
    loss = Loss(to_bad=0.01, to_good=0.2, in_good=0.001, in_bad=0.9)
    wire = Wire(Direction(loss=loss))
    for number in range(100_000):
        wire.send(number * 1e-6)
    assert 1 - len(_numbers(wire)) / 100_000 == pytest.approx(loss.mean, abs=0.004)


def test_some_come_twice_some_overtake() -> None:
    wire = Wire(Direction(delay=1.0, duplicate=0.1, reorder=0.2))
    for number in range(10_000):
        wire.send(number * 1e-5)
    counts = Counter(_numbers(wire))
    assert set(counts) == set(range(10_000))
    assert sum(counts.values()) == pytest.approx(10_000 * (1 + 0.8 * 0.1), rel=0.02)
    express = [number for time, number in wire.arrivals if time < 1.0]
    assert len(express) == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize("seed", range(10))
def test_a_dilated_wire_is_the_same_one_in_slow_motion(seed: int) -> None:
    draw, factor = random.Random(seed), 3.0
    recorded = _trace(*sorted(draw.choices(range(1, 200), k=40)))
    usual = Direction(
        bandwidth=None if seed % 2 else draw.uniform(1e5, 1e7),
        delay=draw.uniform(0.005, 0.1),
        jitter=Jitter(0.005, "pareto", draw.choice([0.0, 0.5])),
        loss=Loss(to_bad=0.02, to_good=0.3),
        duplicate=0.05,
        reorder=0.05,
        queue=draw.choice([None, Queue(packets=20), Queue(bytes=20_000), Queue(seconds=0.05)]),
        trace=recorded if seed % 2 else None,
    )
    wire, slow, now = Wire(usual, seed), Wire(usual.dilated(factor), seed), 0.0
    for _ in range(500):
        now += draw.expovariate(1 / 0.004)
        size = draw.randint(60, FRAME)
        wire.send(now, size)
        slow.send(now * factor, size)
    assert _numbers(slow) == _numbers(wire)
    assert [time / factor for time, _ in slow.arrivals] == pytest.approx([time for time, _ in wire.arrivals], abs=1e-6)


def test_one_seed_draws_the_same_again() -> None:
    def lost(seed: int) -> list[int]:
        wire = Wire(Direction(loss=Loss(in_good=0.3)), seed)
        for number in range(200):
            wire.send(number * 1e-3)
        return _numbers(wire)

    assert lost(1) == lost(1) != lost(2)


def test_the_frame_that_is_being_sent_goes_on_at_the_new_rate() -> None:
    wire = Wire(Direction(bandwidth=8e3))  # a thousand bytes a second
    wire.send(0.0, size=1000)
    wire.send(0.0, size=1000)
    wire.shape(Direction(bandwidth=8e4), 0.5)
    assert _times(wire) == pytest.approx([0.5 + 0.05, 0.5 + 0.05 + 0.1])


def test_what_is_on_its_way_keeps_its_delay_and_is_not_overtaken() -> None:
    wire = Wire(Direction(delay=0.2))
    wire.send(0.0)
    wire.shape(Direction(delay=0.01), 0.05)
    wire.send(0.06)
    wire.send(0.3)
    assert _times(wire) == pytest.approx([0.2, 0.2, 0.31])


def test_what_waits_meets_the_properties_that_hold_when_it_departs() -> None:
    wire = Wire(Direction(bandwidth=8e3, delay=5.0))
    wire.send(0.0, size=1000)
    wire.send(0.0, size=1000)
    wire.shape(Direction(bandwidth=8e3, delay=5.0, cut=True), 1.5)
    wire.shape(Direction(bandwidth=8e3, delay=5.0), 2.5)
    wire.send(3.0, size=1000)
    assert wire.all_arrivals() == [(pytest.approx(6.0), 0), (pytest.approx(9.0), 2)]


def test_a_channel_that_was_bad_loses_nothing_more_once_it_is_mended() -> None:
    wire = Wire(Direction(loss=Loss(to_bad=1.0, to_good=0.01)))
    for number in range(10):
        wire.send(number * 1e-3)
    wire.shape(Direction(), 0.5)
    wire.send(0.6)
    assert _numbers(wire)[-1] == 10


def test_no_delay_falls_below_zero() -> None:
    wire = Wire(Direction(delay=0.010, jitter=Jitter(0.010)))
    for second in range(2000):
        wire.send(float(second))
    assert min(time - number for time, number in wire.all_arrivals()) == 0


def _trace(*milliseconds: int) -> LinkTrace:
    return LinkTrace("here", milliseconds)


def test_a_recording_carries_a_full_frame_at_each_of_its_times_and_begins_again() -> None:
    wire = Wire(Direction(trace=_trace(10, 10, 40)))
    for _ in range(5):
        wire.send(0.0)
    assert _times(wire) == pytest.approx([0.010, 0.010, 0.040, 0.050, 0.050])


def test_small_frames_share_an_opportunity_and_a_large_one_takes_what_is_left_of_two() -> None:
    wire = Wire(Direction(trace=_trace(10, 20, 30)))
    for size in (500, 500, 1000, 500):
        wire.send(0.0, size)
    assert _times(wire) == pytest.approx([0.010, 0.010, 0.020, 0.020])


def test_an_opportunity_that_nobody_waits_for_is_gone() -> None:
    wire = Wire(Direction(trace=_trace(10, 20, 1000)))
    wire.send(5.015)
    wire.send(5.5)
    assert _times(wire) == pytest.approx([5.020, 6.0])


@pytest.mark.parametrize("seed", range(5))
def test_a_recording_agrees_with_a_walk_along_it(seed: int) -> None:
    draw = random.Random(seed)
    times = [*sorted(draw.randint(0, 100) for _ in range(30)), 100]
    sent = sorted((draw.uniform(0, 1), draw.randint(60, FRAME)) for _ in range(100))
    wire = Wire(Direction(trace=_trace(*times)))
    for now, size in sent:
        wire.send(now, size)
    walk, left = _opportunities(times), 0
    opportunity = 0.0
    for (time, number), (accepted, size) in zip(wire.all_arrivals(), sent, strict=True):
        if left == 0 or opportunity < round(accepted, 9):
            opportunity, left = next(at for at in walk if at >= round(accepted, 9)), FRAME
        while size > left:
            size -= left
            opportunity, left = next(walk), FRAME
        left -= size
        assert time == pytest.approx(opportunity), number


def _opportunities(times: list[int]) -> Iterator[float]:
    cycle = 0
    while True:
        yield from ((cycle * times[-1] + time) / 1e3 for time in times)
        cycle += 1


def test_the_same_recording_goes_on_where_it_was_and_another_begins_anew() -> None:
    wire = Wire(Direction(trace=_trace(10, 100)))
    wire.shape(Direction(trace=_trace(10, 100), delay=1.0), 0.05)
    wire.send(0.05)
    wire.shape(Direction(trace=_trace(20, 70)), 2.0)
    wire.send(2.0)
    assert _times(wire) == pytest.approx([1.1, 2.02])
