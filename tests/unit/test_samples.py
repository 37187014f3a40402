"""What is sampled of nodes."""

from testbed.world.nodes.consumption import Counter


def test_a_count_goes_on_over_restarts() -> None:
    counter = Counter()
    assert [counter.read(count) for count in (1.0, 4.0, 0.5, 2.0, 0.0, 3.0)] == [1.0, 4.0, 4.5, 6.0, 6.0, 9.0]
