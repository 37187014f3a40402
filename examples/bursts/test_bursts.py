import random
from itertools import islice

import pytest
from testbed_bursts import Bursts

BURSTS = Bursts.model_validate({"process": "bursts", "rate": "2/s", "size": 5})


def test_prompts_arrive_together_at_the_mean_rate() -> None:
    times = list(islice(BURSTS.times(2.0, random.Random(1)), 10_000))
    assert times == sorted(times)
    assert len(set(times)) == 10_000 / 5
    assert 10_000 / times[-1] == pytest.approx(2, rel=0.05)


def test_the_same_seed_gives_the_same_times() -> None:
    first, second = (list(islice(BURSTS.times(2.0, random.Random(3)), 20)) for _ in range(2))
    assert first == second
