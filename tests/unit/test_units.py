"""Quantities: read with their unit, refused without, and written so that they read back the very same."""

import random

import pytest

from testbed.core.units import BANDWIDTH, DURATION, RATE, SIZE, Quantity

KINDS = (DURATION, BANDWIDTH, SIZE, RATE)
each_kind = pytest.mark.parametrize("quantity", KINDS, ids=lambda quantity: quantity.name)


@pytest.mark.parametrize(
    ("quantity", "written", "value"),
    [
        (DURATION, "10ms", 0.01),
        (DURATION, "250us", 250e-6),
        (DURATION, "2min", 120),
        (DURATION, "1.5h", 5400),
        (DURATION, "0s", 0),
        (DURATION, "  3 s ", 3),
        (DURATION, "1e3s", 1000),
        (DURATION, "+2s", 2),
        (BANDWIDTH, "10mbit", 10e6),
        (BANDWIDTH, "1gbit", 1e9),
        (BANDWIDTH, "0.5kbit", 500),
        (SIZE, "512MiB", 512 * 2**20),
        (SIZE, "1GB", 10**9),
        (SIZE, "7B", 7),
        (SIZE, "160 MiB", 160 * 2**20),
        (BANDWIDTH, "10Mbit/s", 10e6),
        (BANDWIDTH, "10 Mbit/s", 10e6),
        (BANDWIDTH, "10Mbps", 10e6),
        (BANDWIDTH, "12 kbps", 12e3),
        (BANDWIDTH, "1 Gbit", 1e9),
        (BANDWIDTH, "56000bps", 56e3),
        (DURATION, "80 µs", 80e-6),
        (RATE, "0.2/s", 0.2),
        (RATE, "6/min", 0.1),
        (RATE, "36/h", 0.01),
    ],
)
def test_is_read_in_base_units(quantity: Quantity, written: str, value: float) -> None:
    assert quantity.parse(written) == pytest.approx(value, rel=1e-15)


@each_kind
@pytest.mark.parametrize("number", ["5", 5, 0.5, "1e3", "-2"])
def test_a_number_without_unit_is_refused_with_an_example(quantity: Quantity, number: object) -> None:
    with pytest.raises(ValueError, match=f"{number} has no unit") as refusal:
        quantity.parse(number)
    assert quantity.example in str(refusal.value)
    assert all(unit in str(refusal.value) for unit in quantity.units)


@each_kind
@pytest.mark.parametrize("unit", ["parsec", "MS", "MB/s", "%", "s s", ".s"])
def test_an_unknown_unit_is_refused_with_the_known_ones(quantity: Quantity, unit: str) -> None:
    with pytest.raises(ValueError, match="unknown unit") as refusal:
        quantity.parse(f"3{unit}")
    assert repr(unit) in str(refusal.value)
    assert all(known in str(refusal.value) for known in quantity.units)


@pytest.mark.parametrize(
    ("quantity", "written", "meant"),
    [
        (SIZE, "160M", "160MiB or 160MB"),
        (SIZE, "2G", "2GiB or 2GB"),
        (SIZE, "512Mi", "512MiB or 512MB"),
        (DURATION, "200m", "200ms or 200min"),
        (BANDWIDTH, "10M", "10mbit"),
    ],
)
def test_an_ambiguous_unit_is_refused_with_what_it_may_mean(quantity: Quantity, written: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"^'{written}' has the ambiguous unit '.*'; write {meant}$"):
        quantity.parse(written)


@each_kind
@pytest.mark.parametrize("written", ["", "fast", "ms", ".5s", "--3s", None, True, ["1s"], float("inf"), float("nan")])
def test_what_is_no_quantity_is_refused(quantity: Quantity, written: object) -> None:
    with pytest.raises(ValueError, match=f"is not a {quantity.name}; write it like {quantity.example}"):
        quantity.parse(written)


@each_kind
def test_negative_and_endless_values_are_refused(quantity: Quantity) -> None:
    unit = next(iter(quantity.units))
    with pytest.raises(ValueError, match="zero"):
        quantity.parse(f"-1{unit}")
    with pytest.raises(ValueError, match="too large"):
        quantity.parse(f"1e400{unit}")


def test_a_delay_may_be_zero_but_a_bandwidth_a_size_and_a_rate_may_not() -> None:
    assert DURATION.parse("0ms") == 0
    for quantity, written in ((BANDWIDTH, "0mbit"), (SIZE, "0B"), (RATE, "0/s")):
        with pytest.raises(ValueError, match="above zero"):
            quantity.parse(written)


@pytest.mark.parametrize(
    ("quantity", "value", "written"),
    [
        (DURATION, 0.01, "10ms"),
        (DURATION, 3e-6, "3us"),
        (DURATION, 90, "1.5min"),
        (DURATION, 0, "0us"),
        (BANDWIDTH, 10e6, "10mbit"),
        (SIZE, 160 * 2**20, "160MiB"),
        (SIZE, 10**9 + 1, "1000000001B"),
        (RATE, 0.5, "30/min"),
    ],
)
def test_is_written_in_the_largest_unit_that_suits(quantity: Quantity, value: float, written: str) -> None:
    assert quantity.format(value) == written


@each_kind
@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_reads_back_exactly(quantity: Quantity, seed: int) -> None:
    """A resolved scenario must be the same scenario: to twelve digits is another seed's worth of other numbers."""
    draw = random.Random(seed)
    for _ in range(300):
        value = draw.uniform(0, 1) * 10 ** draw.randint(-8, 12)
        assert quantity.parse(quantity.format(value)) == value


@pytest.mark.parametrize("seed", range(5))
def test_whole_sizes_read_back_exactly(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(300):
        size = draw.randrange(1, 2**45)
        assert SIZE.parse(SIZE.format(size)) == size


@each_kind
def test_one_of_every_unit_reads_back_as_its_factor(quantity: Quantity) -> None:
    for unit, factor in quantity.units.items():
        assert quantity.parse(f"1{unit}") == factor
        assert quantity.parse(quantity.format(factor)) == factor
