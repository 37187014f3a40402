"""How far off a link may be: what is asked of a direction, beside frames that were seen to arrive over it."""

from pathlib import Path
from typing import Any

import pytest

from testbed.record.fidelity.links import as_figures, judge_direction, judge_links
from testbed.schema.network.direction import Direction, Jitter, Loss
from testbed.schema.network.link import Link
from testbed.schema.network.link_trace import read_trace
from testbed.world.network.probe import Observation

SENDING = 60 * 8 / 10e6  # seconds that a small frame takes at 10 Mbit/s
PLAIN = Direction(bandwidth=10e6, delay=0.010)


def _observation(delay: float = 0.010 + SENDING, rate: float = 10e6, lost: int = 0, sent: int = 256) -> Observation:
    return Observation(sent, sent - lost, (delay,) * 50, (rate,))


def _verdicts(direction: Direction, observation: Observation) -> dict[str, str]:
    """What is off, by the property that the sentence names."""
    findings = judge_direction(direction, observation)
    return {finding.reason.split()[0]: finding.verdict for finding in findings}


def _repeated(delays: tuple[float, ...], times: int) -> Observation:
    return Observation(times * len(delays), times * len(delays), delays * times, ())


@pytest.mark.parametrize(
    ("asked", "measured", "verdict"),
    [
        (0.010, 0.0109, None),  # below a millisecond
        (0.010, 0.0091, None),
        (0.010, 0.0112, "distorted"),
        (0.010, 0.0088, "distorted"),
        (0.010, 0.030, "distorted"),
        (0.010, 0.036, "invalid"),  # above 25 ms
        (0.400, 0.419, None),  # below a twentieth
        (0.400, 0.421, "distorted"),
        (0.400, 0.599, "distorted"),
        (0.400, 0.601, "invalid"),  # above a half
        (0.400, 0.0, "invalid"),
        (0.0, 0.0009, None),
        (0.0, 0.0011, "distorted"),
    ],
)
def test_how_far_off_a_delay_may_be(asked: float, measured: float, verdict: str | None) -> None:
    found = _verdicts(Direction(delay=asked), _observation(measured))
    assert found == ({} if verdict is None else {"delay": verdict})


def test_the_time_to_send_a_frame_of_60_bytes_is_part_of_the_delay() -> None:
    slow = Direction(bandwidth=48e3, delay=0.010)
    assert _verdicts(slow, _observation(0.020, rate=48e3)) == {}
    assert _verdicts(slow, _observation(0.010, rate=48e3)) == {"delay": "distorted"}


def test_a_few_late_frames_are_no_longer_delay() -> None:
    delays = (0.010,) * 26 + (0.060,) * 24
    assert _verdicts(Direction(delay=0.010), Observation(50, 50, delays, ())) == {}


def test_where_the_delay_varies_its_mean_is_judged_as_well_as_it_can_be_known() -> None:
    direction = Direction(delay=0.030, jitter=Jitter(0.010))
    few, many = _repeated((0.024, 0.044), 25), _repeated((0.024, 0.044), 2000)  # the mean is 34 ms, and not 30
    assert "delay" not in _verdicts(direction, few)
    assert _verdicts(direction, many)["delay"] == "distorted"
    dependent = Direction(delay=0.030, jitter=Jitter(0.010, correlation=0.98))
    assert "delay" not in _verdicts(dependent, many)


@pytest.mark.parametrize(
    ("deviation", "times", "verdict"),
    [(0.010, 100, None), (0.014, 100, None), (0.016, 100, "distorted"), (0.006, 100, "distorted"), (0.016, 30, None)],
)
def test_jitter_is_judged_where_enough_frames_were_seen(deviation: float, times: int, verdict: str | None) -> None:
    direction = Direction(delay=0.030, jitter=Jitter(0.010))
    found = _verdicts(direction, _repeated((0.030 - deviation, 0.030 + deviation), times))
    assert found.get("jitter") == verdict


def test_frames_that_skip_the_delay_make_its_mean_shorter() -> None:
    direction = Direction(delay=0.100, reorder=0.2)
    assert _verdicts(direction, _repeated((0.0, 0.1, 0.1, 0.1, 0.1), 200)) == {}
    assert _verdicts(direction, _repeated((0.1,), 1000)) == {"delay": "distorted"}


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [(10.4e6, None), (9.6e6, None), (10.6e6, "distorted"), (9.4e6, "distorted"), (4e6, "invalid"), (20e6, "invalid")],
)
def test_how_far_off_a_rate_may_be(measured: float, verdict: str | None) -> None:
    found = _verdicts(PLAIN, _observation(rate=measured))
    assert found == ({} if verdict is None else {"rate": verdict})


def test_frames_that_are_lost_may_but_need_not_have_taken_their_time() -> None:
    lossy = Direction(bandwidth=10e6, delay=0.010, loss=Loss(in_good=0.2))
    assert _verdicts(lossy, _observation(rate=8e6, lost=51)) == {}
    assert _verdicts(lossy, _observation(rate=10e6, lost=51)) == {}
    assert _verdicts(lossy, _observation(rate=7e6, lost=51)) == {"rate": "distorted"}


def test_copies_may_but_need_not_have_taken_their_time() -> None:
    doubling = Direction(bandwidth=10e6, delay=0.010, duplicate=0.25)
    assert _verdicts(doubling, _observation(rate=8e6)) == {}
    assert _verdicts(doubling, _observation(rate=10e6)) == {}
    assert _verdicts(doubling, _observation(rate=7e6)) == {"rate": "distorted"}


def test_a_rate_that_could_not_be_measured_is_not_judged() -> None:
    assert _verdicts(PLAIN, Observation(50, 50, (0.010,) * 50, ())) == {}


@pytest.mark.parametrize(
    ("loss", "lost", "sent", "verdict"),
    [
        (Loss(), 0, 256, None),
        (Loss(), 1, 256, "distorted"),  # nobody asked for any
        (Loss(), 100, 256, "invalid"),
        (Loss(), 256, 256, "invalid"),
        (Loss(in_good=0.05), 12, 256, None),
        (Loss(in_good=0.05), 0, 256, None),  # too few to tell
        (Loss(in_good=0.05), 0, 2560, "distorted"),
        (Loss(in_good=0.05), 40, 256, "distorted"),
        (Loss(in_good=0.05), 1280, 2560, "invalid"),
        (Loss(to_bad=0.01, to_good=0.1), 0, 256, None),  # 9 % in bursts of ten: 256 frames may well see none
        (Loss(to_bad=0.01, to_good=0.1), 60, 256, None),
        (Loss(in_good=1 / 11), 60, 256, "distorted"),  # as many that are independent
    ],
)
def test_how_many_frames_may_be_lost(loss: Loss, lost: int, sent: int, verdict: str | None) -> None:
    direction = Direction(delay=0.010, loss=loss)
    observation = Observation(sent, sent - lost, (0.010,) * min(50, sent - lost), ())
    assert _verdicts(direction, observation) == ({} if verdict is None else {"loss": verdict})


def test_a_frame_with_a_bit_wrong_may_count_as_lost() -> None:
    assert _verdicts(Direction(delay=0.010, corrupt=0.1), _observation(0.010, lost=20)) == {}


def test_a_direction_that_is_cut_must_carry_nothing() -> None:
    cut = Direction(bandwidth=10e6, delay=0.010, cut=True)
    assert _verdicts(cut, Observation(50, 0, (), ())) == {}
    assert _verdicts(cut, Observation(50, 50, (0.010,) * 50, ())) == {"loss": "invalid"}


def test_a_recorded_link_may_keep_a_frame_waiting_but_not_bring_it_too_soon(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("10\n500\n")
    recorded = Direction(delay=0.020, trace=read_trace(tmp_path / "trace"))
    assert _verdicts(recorded, Observation(50, 40, (0.300,) * 40, ())) == {}
    assert _verdicts(recorded, Observation(50, 50, (0.010,) * 50, ())) == {"delay": "distorted"}


def test_the_sentence_names_link_way_and_both_values() -> None:
    seen: Any = {Link("a", "s1", PLAIN, PLAIN): {"up": _observation(0.0132), "down": _observation(rate=5.5e6, lost=2)}}
    assert [finding.reason for finding in judge_links(seen, "before play")] == [
        "link a-s1 up: delay asked 10.0 ms, measured 13.2 ms before play",
        "link a-s1 down: rate asked 10 mbit, measured 5.5 mbit before play",
        "link a-s1 down: loss asked 0.00%, measured 0.78% before play",
    ]


def test_the_figures_are_those_before_and_after_play() -> None:
    link = Link("a", "s1", PLAIN, Direction())
    before: Any = {link: {"up": _observation(0.011), "down": _observation(0.0005)}}
    after: Any = {link: {"up": _observation(0.012), "down": Observation(50, 0, (), ())}}
    figures = as_figures(before, after)["a-s1"]
    assert figures["rtt"] == {"asked": 0.010 + SENDING, "before": 0.0115, "after": None}
    assert figures["up"]["asked"] == {"delay": 0.010 + SENDING, "jitter": 0.0, "rate": 10e6, "loss": 0.0}
    assert figures["up"]["after"] == {"delay": 0.012, "jitter": 0.0, "rate": 10e6, "loss": 0.0}
    assert figures["down"]["after"] == {"delay": None, "jitter": None, "rate": None, "loss": 1.0}
