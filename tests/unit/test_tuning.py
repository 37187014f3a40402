"""What `auto` picks, held against a simulation of the ring that the formula is about."""

import heapq
import itertools

import pytest

from testbed.node.ring.tuning import choose, sizes


def _simulated(groups: int, batch: int, stages: list[float], link: float, rounds: int = 200) -> float:
    """Tokens a second of so many groups going round: each stage takes one after the other, links delay all alike."""
    free = [0.0] * len(stages)
    order = itertools.count()
    events = [(0.0, next(order), 0) for _ in range(groups)]  # when a group comes to a stage, and to which
    home, end = 0, 0.0
    while home < rounds * groups:
        now, _, stage = heapq.heappop(events)
        free[stage] = max(free[stage], now) + stages[stage]
        following = (stage + 1) % len(stages)
        if following == 0:
            home, end = home + 1, free[stage]
        heapq.heappush(events, (free[stage] + link, next(order), following))
    return home * batch / end


def _cost(batch: int, fixed: float, each: float) -> float:
    return fixed + each * batch


@pytest.mark.parametrize("link", [0.0, 0.01, 0.05])
@pytest.mark.parametrize(("fixed", "each"), [(0.01, 0.0), (0.01, 0.002), (0.0, 0.01)])
@pytest.mark.parametrize("samples", [1, 4, 16])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_no_other_groups_give_much_more(link: float, fixed: float, each: float, samples: int, count: int) -> None:
    times = [[_cost(size, fixed, each) for size in sizes(samples)] for _ in range(count)]
    rounds = [count * (_cost(size, fixed, each) + link) for size in sizes(samples)]
    choice = choose(samples, times, rounds)
    assert choice.groups * choice.batch <= samples

    def rate(groups: int, batch: int) -> float:
        return _simulated(groups, batch, [_cost(batch, fixed, each)] * count, link)

    assert rate(choice.groups, choice.batch) == pytest.approx(choice.rate, rel=0.05)
    others = [rate(groups, size) for size in sizes(samples) for groups in range(1, samples // size + 1)]
    assert rate(choice.groups, choice.batch) >= 0.95 * max(others)


def test_links_that_delay_make_more_groups_than_stages() -> None:
    linear = [[0.01, 0.02, 0.04, 0.08, 0.16]] * 2
    assert choose(16, linear, [0.02, 0.04, 0.08, 0.16, 0.32]).groups == 2
    assert choose(16, linear, [0.12, 0.14, 0.18, 0.26, 0.42]).groups > 2


def test_the_sizes_are_powers_of_two_and_all() -> None:
    assert sizes(1) == [1]
    assert sizes(8) == [1, 2, 4, 8]
    assert sizes(12) == [1, 2, 4, 8, 12]
