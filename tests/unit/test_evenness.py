"""What the benchmark of caps makes of the times of tokens."""

import numpy as np
import pytest
from caps import Evenness


def _tokens(cap: float, period: float, token: float = 0.0001, seconds: float = 3.0) -> Evenness:
    """What the benchmark makes of tokens by a node that has its cap's part of every period at the period's begin."""
    core = np.arange(0, seconds * cap, token)  # when they would be drawn on a core of their own
    periods = np.floor(core / (cap * period) + 1e-9)
    return Evenness.of(core + periods * (1 - cap) * period, 1 / token)


def test_a_core_of_ones_own_has_no_holes() -> None:
    even = _tokens(1.0, 0.01)
    assert (even.tokens_per_second, even.least, even.most) == pytest.approx((10_000, 1, 1), rel=0.001)
    assert even.longest_hole == pytest.approx(0, abs=1e-6)
    assert (even.token_p50, even.token_p99) == pytest.approx((0.014, 0.014), rel=0.01)


def test_short_periods_are_even_and_long_ones_are_not() -> None:
    short, long = _tokens(0.3, 0.01), _tokens(0.3, 0.15)
    assert short.tokens_per_second == pytest.approx(3000, rel=0.01)
    assert (short.least, short.most) == pytest.approx((1, 1), abs=0.04)
    assert (short.longest_hole, long.longest_hole) == pytest.approx((0.007, 0.105), abs=0.0002)
    assert (long.least, long.most) == pytest.approx((0, 1.5), abs=0.1)
    assert short.token_p50 == pytest.approx(0.014 / 0.3, abs=0.007)


def test_tokens_that_are_too_far_apart_tell_nothing_of_a_tenth_of_a_second() -> None:
    rare = _tokens(0.3, 0.01, token=0.014)
    assert (rare.least, rare.most, rare.longest_hole) == (None, None, None)
    assert rare.token_p99 == pytest.approx(0.014 / 0.3, abs=0.014)
