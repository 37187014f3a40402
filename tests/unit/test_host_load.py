"""How busy a host was, and whether a run can be believed on it."""

import pytest

from testbed.record.host_load import HostCounters, HostLoad, host_load

CORES = 2


def _counters(*idle: float, pressure: float | None = 0.0) -> list[HostCounters]:
    """One for each second, with so many seconds of idle time in the one that it ends."""
    total, seen = 0.0, [HostCounters(0.0, 0.0, 0.0, pressure)]
    for second, share in enumerate(idle, 1):
        total += share * CORES
        waited = None if pressure is None else pressure + second * 0.1
        seen.append(HostCounters(second, total, second * 0.02 * CORES, waited))
    return seen


def test_shares_are_of_all_cores() -> None:
    load = host_load(_counters(0.9, 0.5, 0.01, 0.6), CORES)
    assert load.idle == pytest.approx(0.5025)
    assert load.idle_least == pytest.approx(0.01)
    assert load.saturated == pytest.approx(0.25)
    assert load.stolen == pytest.approx(0.02)
    assert load.pressure == pytest.approx(0.1)


def test_pressure_that_the_kernel_does_not_count_is_unknown() -> None:
    assert host_load(_counters(0.9, 0.9, pressure=None), CORES).pressure is None


def test_the_last_moment_is_too_short_to_be_the_worst_second() -> None:
    seen = [*_counters(0.9, 0.8), HostCounters(2.05, 3.4, 0.0, 0.0)]
    assert host_load(seen, CORES).idle_least == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("idle", "found"),
    [
        ([0.9] * 20, False),
        ([0.06] * 20, False),  # little, but enough
        ([0.0] * 5 + [0.9] * 15, False),  # moments
        ([0.0] * 6 + [0.9] * 14, True),
        ([0.0] * 20, True),
    ],
)
def test_a_host_without_idle_time_distorts(idle: list[float], found: bool) -> None:
    findings = list(host_load(_counters(*idle), CORES).flaws())
    assert [finding.verdict for finding in findings] == ["distorted"] * found
    assert all("the host had less than 5% of its CPU idle" in finding.reason for finding in findings)


def test_a_hypervisor_that_takes_the_time_distorts() -> None:
    (finding,) = HostLoad(idle=0.5, idle_least=0.4, saturated=0, stolen=0.1, pressure=0.1).flaws()
    assert (finding.verdict, "took 10%" in finding.reason) == ("distorted", True)
