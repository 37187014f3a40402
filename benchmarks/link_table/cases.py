"""Cases besides the cells: jitter, tests of other projects, and the throughput and CPU time of a backend."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Final

import psutil

from link_table.changes import CHANGES, change_under_load
from link_table.measure import TROUBLES
from link_table.pairs import BackendBench, Contender
from link_table.results import CaseResult
from link_table.tools import ToolError, meet, ping, tcp_rates
from testbed.schema.network.direction import Direction, Jitter


@dataclass(frozen=True)
class Number:
    """A number measured by a case, in its unit, with its bounds; None is no bound."""

    what: str
    unit: str
    measured: float
    least: float | None = None
    most: float | None = None


Case = Callable[[BackendBench], Iterator[Number]]


def run_case(contender: Contender[BackendBench], name: str) -> list[CaseResult]:
    """The numbers of the case ``name``; if it fails, a single one with the reason."""
    try:
        with contender.bench() as bench:
            return [CaseResult(contender.name, name, **vars(number)) for number in CASES[name](bench)]
    except TROUBLES as error:
        return [CaseResult(contender.name, name, name, "", None, trouble=str(error) or repr(error))]


def cases_of(contender: str, quick: bool) -> list[str]:
    """The names of a backend's cases. Only the userspace backend has a relay to measure."""
    left_out = (set() if contender == "userspace" else _OF_THE_RELAY) | (_SLOW if quick else set())
    return [name for name in CASES if name not in left_out]


def _testground(bench: BackendBench) -> Iterator[Number]:
    """testground's ping-pong: 200 ms, accepted up to 215 ms, then 20 ms by a change in place, accepted up to 35 ms."""
    pair = bench.join(Direction(delay=0.100), Direction(delay=0.100))
    meet(pair)
    yield Number("RTT of 200 ms", "ms", ping(pair, 20, 0.02).mean * 1e3, 200, 205)
    bench.change(pair, {"delay": 0.010})
    yield Number("RTT changed to 20 ms", "ms", ping(pair, 20, 0.02).mean * 1e3, 20, 21)


def _ipmininet(version: int, bench: BackendBench) -> Iterator[Number]:
    """ipmininet's tests: delays within 1.5 ms and bandwidths within 10 %."""
    direction = Direction(bandwidth=10e6, delay=0.015)
    pair = bench.join(direction, direction)
    meet(pair, version)
    yield Number(f"RTT of 30 ms, IPv{version}", "ms", ping(pair, 20, 0.02, version).mean * 1e3, 28.5, 31.5)
    rate = fmean(tcp_rates(pair, 10e6, 0.030, version=version))
    yield Number(f"TCP at 10 Mbit/s, IPv{version}", "Mbit/s", rate / 1e6, 9, 11)


def _jitter(distribution: str, bench: BackendBench) -> Iterator[Number]:
    """Jitter in one direction, so that round trips deviate as its delays do; pings are too far apart to queue."""
    jitter = Jitter(0.005, distribution)  # type: ignore[arg-type] # one of the literals, below
    pair = bench.join(Direction(delay=0.020, jitter=jitter), Direction())
    meet(pair)
    deviation = ping(pair, 1000, 0.025).deviation
    yield Number(f"deviation of {distribution} jitter of 5 ms", "ms", deviation * 1e3, 0.85 * 5, 1.15 * 5)


def _changes(bench: BackendBench) -> Iterator[Number]:
    outcome = change_under_load(bench)
    yield Number(f"frames lost in {CHANGES:,} changes, of {outcome.sent:,}", "", outcome.lost, most=0)
    yield Number(f"frames overtaken in {CHANGES:,} changes", "", outcome.overtaken, most=0)
    yield Number("99 of 100 changes under load take", "ms", outcome.change * 1e3, most=10)


def _unlimited(bench: BackendBench) -> Iterator[Number]:
    pair = bench.join(Direction(), Direction())
    meet(pair)
    rate = fmean(tcp_rates(pair, bandwidth=5e9, round_trip=0.001))
    yield Number("TCP over a link without limit", "Gbit/s", rate / 1e9, least=1)


def _ten_links(bench: BackendBench) -> Iterator[Number]:
    """The relay's CPU time as a share of a core, over 5 s in which TCP fills ten links."""
    direction = Direction(bandwidth=20e6, delay=0.010)
    pairs = [bench.join(direction, direction) for _ in range(10)]
    for pair in pairs:
        meet(pair)
    with ThreadPoolExecutor(len(pairs)) as pool:
        transfers = [pool.submit(tcp_rates, pair, 20e6, 0.020, seconds=8) for pair in pairs]
        time.sleep(3)  # the slow starts
        share = _share_of_core(_relay(), seconds=5)
        rates = [fmean(transfer.result()) for transfer in transfers]
    yield Number("slowest of ten links at 20 Mbit/s", "Mbit/s", min(rates) / 1e6, least=0.95 * 20 * 1448 / 1514)
    yield Number("relay of ten links at 20 Mbit/s", "% of a core", share * 100, most=10)


def _relay() -> psutil.Process:
    for process in psutil.Process().children():
        if any("links.relay" in word for word in process.cmdline()):
            return process
    raise ToolError("there is no relay to take the time of")


def _share_of_core(process: psutil.Process, seconds: float) -> float:
    begin, used = time.monotonic(), sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begin)


CASES: Final[dict[str, Case]] = {
    "testground": _testground,
    "ipmininet, IPv4": partial(_ipmininet, 4),
    "ipmininet, IPv6": partial(_ipmininet, 6),
    "jitter, normal": partial(_jitter, "normal"),
    "jitter, uniform": partial(_jitter, "uniform"),
    "jitter, pareto": partial(_jitter, "pareto"),
    "changes": _changes,
    "unlimited": _unlimited,
    "ten links": _ten_links,
}

_OF_THE_RELAY = {"unlimited", "ten links"}
_SLOW = {name for name in CASES if name.startswith("jitter")}
