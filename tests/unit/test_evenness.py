"""What the benchmark of caps makes of the times of tokens."""

import numpy as np
import pytest
from caps import Measurement, Result

SECONDS = 3.0


def _seen(cap: float, period: float, token: float = 0.0001) -> Result:
    """A node that has its cap's part of every period at the period's begin, seen from one such to another."""
    core = np.arange(0, (SECONDS + 2) * cap, token)  # when tokens would be drawn on a core of their own
    times = core + np.floor(core / (cap * period) + 1e-9) * (1 - cap) * period
    watch = Measurement(times, 0.6, 0.6 + SECONDS, cpu=cap * SECONDS)
    return Result.of("work", cap, "it", [(watch, 1 / token)] * 3)


def test_a_core_of_ones_own_has_no_holes() -> None:
    even = _seen(1.0, 0.01)
    assert (even.cpu, even.speed, even.least, even.most) == pytest.approx((1, 1, 1, 1), rel=0.001)
    assert even.longest_hole == pytest.approx(0, abs=1e-6)
    assert (even.token_p50, even.token_p99) == pytest.approx((0.014, 0.014), rel=0.01)


def test_short_periods_are_even_and_long_ones_are_not() -> None:
    short, long = _seen(0.3, 0.01), _seen(0.3, 0.15)
    assert (short.speed, long.speed) == pytest.approx((1, 1), rel=0.005)
    assert (short.least, short.most) == pytest.approx((1, 1), abs=0.04)
    assert (short.longest_hole, long.longest_hole) == pytest.approx((0.007, 0.105), abs=0.0002)
    assert (long.least, long.most) == pytest.approx((0, 1.5), abs=0.02)
    assert short.token_p50 == pytest.approx(0.014 / 0.3, abs=0.007)


def test_tokens_that_are_too_far_apart_tell_nothing_of_a_tenth_of_a_second() -> None:
    rare = _seen(0.3, 0.01, token=0.014)
    assert (rare.least, rare.most, rare.longest_hole) == (None, None, None)
    assert rare.speed == pytest.approx(1, rel=0.02)
    assert rare.token_p99 == pytest.approx(0.014 / 0.3, abs=0.014)
