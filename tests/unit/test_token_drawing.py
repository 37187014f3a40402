"""How the last stage of a ring draws a token."""

from collections import Counter

import numpy as np
import pytest

from testbed.node.ring.sampler import draw
from testbed.node.ring.wire.messages import Drawing

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.04, 0.01], np.float32))


def _shares(drawing: Drawing, logits: np.ndarray = LOGITS, draws: int = 4000) -> dict[int, float]:
    counts = Counter(draw(logits, drawing, position) for position in range(draws))
    return {token: count / draws for token, count in counts.items()}


def test_at_temperature_zero_it_is_the_likeliest() -> None:
    assert {draw(LOGITS, Drawing(seed, 0.0, 1.0), position) for seed in range(5) for position in range(5)} == {0}


def test_the_same_seed_and_position_give_the_same_token() -> None:
    first, again, other = ([draw(LOGITS, Drawing(seed, 1.0, 1.0), n) for n in range(50)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_tokens_come_as_often_as_they_are_likely() -> None:
    """All but the last: at less than a twentieth of the likeliest it is never drawn."""
    shares = _shares(Drawing(7, 1.0, 1.0))
    assert shares == pytest.approx({0: 0.5 / 0.99, 1: 0.3 / 0.99, 2: 0.15 / 0.99, 3: 0.04 / 0.99}, abs=0.03)


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    sharp, plain, flat = (_shares(Drawing(7, temperature, 1.0))[0] for temperature in (0.5, 1.0, 2.0))
    assert sharp > plain + 0.1 > flat + 0.2


def test_top_p_keeps_the_likeliest_that_reach_it() -> None:
    assert set(_shares(Drawing(7, 1.0, 0.5))) == {0}
    assert set(_shares(Drawing(7, 1.0, 0.51))) == {0, 1}
    assert set(_shares(Drawing(7, 2.0, 0.9))) == {0, 1, 2}


def test_at_most_forty_tokens_are_drawn_from() -> None:
    assert set(_shares(Drawing(7, 1.0, 1.0), np.zeros(100, np.float32))) == set(range(40))
