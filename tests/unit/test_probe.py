"""What is sent to measure a link, and what a train's arrival says."""

import pytest

from testbed.schema.network.direction import Direction, Queue
from testbed.schema.network.link_trace import LinkTrace
from testbed.world.network.probe import Train, arrival_rate, train_over

FRAME = 1514
SPACING = FRAME * 8 / 10e6  # seconds between two full frames at 10 Mbit/s


def _arrivals(count: int) -> list[float]:
    return [5 + number * SPACING for number in range(count)]


def test_a_train_arrives_at_the_rate_of_its_link() -> None:
    assert arrival_rate(_arrivals(200), FRAME) == pytest.approx(10e6)
    assert arrival_rate(_arrivals(9), FRAME) == pytest.approx(10e6)


def test_a_few_frames_out_of_place_do_not_change_it() -> None:
    times = _arrivals(200)
    times[0] -= 0.05  # skipped the delay
    times[-1] += 0.5  # was held up
    times[100:104] = [times[104]] * 4
    assert arrival_rate(times, FRAME) == pytest.approx(10e6, rel=0.001)


def test_frames_that_are_lost_without_taking_time_do_not_change_it() -> None:
    assert arrival_rate(_arrivals(150), FRAME) == pytest.approx(10e6)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_frames_say_nothing(count: int) -> None:
    assert arrival_rate(_arrivals(count), FRAME) is None


@pytest.mark.parametrize(
    ("direction", "train"),
    [
        (Direction(bandwidth=10e6), Train(206, FRAME)),  # a quarter of a second
        (Direction(bandwidth=1e6), Train(20, FRAME)),
        (Direction(bandwidth=1e9), Train(250, FRAME)),  # what fits a device's queue
        (Direction(bandwidth=10e3), Train(10, 60)),  # small frames, or it would take long
        (Direction(bandwidth=10e6, queue=Queue(packets=50)), Train(50, FRAME)),
        (Direction(bandwidth=10e6, queue=Queue(bytes=64 * 1024)), Train(43, FRAME)),
        (Direction(bandwidth=10e6, queue=Queue(seconds=0.05)), Train(41, FRAME)),
        (Direction(bandwidth=10e6, queue=Queue(packets=3)), None),
        (Direction(), None),  # there is no rate to find
        (Direction(bandwidth=10e6, cut=True), None),
        (Direction(trace=LinkTrace("recorded", (5, 10))), None),
    ],
)
def test_a_train_suits_its_link(direction: Direction, train: Train | None) -> None:
    assert train_over(direction) == train
