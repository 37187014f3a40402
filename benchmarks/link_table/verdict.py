"""What the issue of the links asks for, held against what was measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean
from typing import Final

from link_table.grid import Cell
from link_table.results import CellResult, Store, noise

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Verdict:
    """A criterion: what it asks, what was measured, and whether it was held."""

    contender: str
    criterion: str
    measured: str
    held: bool


def round_trip_error(result: CellResult) -> float:
    """Seconds that the round trip is off."""
    return abs(result.round_trip - result.cell.round_trip)


def rate_error(result: CellResult) -> float:
    """The share by which TCP's rate is off."""
    return abs(result.tcp_rate / result.cell.tcp_rate - 1)


def loss_error(result: CellResult) -> float:
    """The difference between the shares lost and asked."""
    return abs(result.loss - result.cell.loss)


def round_trip_tolerance(cell: Cell) -> float:
    """Seconds."""
    return max(0.2e-3, 0.02 * cell.round_trip)


RATE_TOLERANCE: Final = 0.05


def loss_held(result: CellResult) -> bool:
    """Whether the loss asked is inside the interval of the loss measured."""
    least, most = result.loss_interval
    return least <= result.cell.loss <= most


@dataclass(frozen=True)
class Quantity:
    """One of the three that are measured in cells: where it was, by how much it is off, and how much of that is noise.

    ``scale`` turns an error into ``unit``.
    """

    name: str
    unit: str
    scale: float
    measured: Callable[[CellResult], bool]
    error: Callable[[CellResult], float]
    noise: Callable[[CellResult], float]

    def readable(self, error: float) -> str:
        """For people."""
        return f"{error * self.scale:.3g} {self.unit}"


ROUND_TRIP: Final = Quantity(
    "RTT",
    "ms",
    1e3,
    lambda result: bool(result.round_trips),
    round_trip_error,
    lambda result: noise(result.round_trips),
)
RATE: Final = Quantity(
    "TCP rate",
    "%",
    1e2,
    lambda result: bool(result.rates),
    rate_error,
    lambda result: noise(result.rates) / result.cell.tcp_rate,
)
LOSS: Final = Quantity(
    "loss",
    "percentage points",
    1e2,
    lambda result: bool(result.sent),
    loss_error,
    lambda result: (result.loss_interval[1] - result.loss_interval[0]) / 2,
)


def judge(store: Store) -> Iterator[Verdict]:
    """Every criterion for every contender that was measured."""
    by_contender: dict[str, list[CellResult]] = {}
    for (contender, _), result in store.cells.items():
        by_contender.setdefault(contender, []).append(result)
    for contender, results in by_contender.items():
        yield from _judge_cells(contender, results)
    for case in store.cases:
        bounds = " ".join(
            f"{sign} {bound:g}" for sign, bound in (("≥", case.least), ("≤", case.most)) if bound is not None
        )
        measured = case.trouble or f"{case.measured:.4g} {case.unit}".strip()
        yield Verdict(case.contender, f"{case.what}: {bounds} {case.unit}".strip(), measured, case.held)
    for contender in by_contender.keys() - {"tclink"}:
        if "tclink" in by_contender:
            yield from _compare(contender, store)


def _judge_cells(contender: str, results: Sequence[CellResult]) -> Iterator[Verdict]:
    trips = [result for result in results if result.round_trips]
    held = [result for result in trips if round_trip_error(result) <= round_trip_tolerance(result.cell)]
    yield _counted(contender, "RTT within 0.2 ms or 2 %", held, trips, ROUND_TRIP)
    if contender == "userspace":
        close = [result for result in trips if round_trip_error(result) < 0.2e-3]
        yield _counted(contender, "RTT within 0.2 ms", close, trips, ROUND_TRIP)
    rates = [result for result in results if result.rates]
    held = [result for result in rates if rate_error(result) <= RATE_TOLERANCE]
    yield _counted(contender, "TCP rate within 5 %", held, rates, RATE)
    losses = [result for result in results if result.sent]
    outside = sum(not loss_held(result) for result in losses)
    most = by_chance(len(losses))
    yield Verdict(
        contender,
        f"loss inside its 95 % interval in all cells but {most}, which chance explains",
        f"outside in {outside} of {len(losses)}",
        outside <= most,
    )
    troubled = [result for result in results if result.trouble]
    yield Verdict(contender, "all cells measured", f"{len(results) - len(troubled)} of {len(results)}", not troubled)


def _counted(
    contender: str, criterion: str, held: Sequence[CellResult], all_: Sequence[CellResult], quantity: Quantity
) -> Verdict:
    worst = max(all_, key=quantity.error, default=None)
    measured = f"{len(held)} of {len(all_)} cells"
    if worst is not None:
        mean = quantity.readable(fmean(map(quantity.error, all_)))
        measured += f"; mean error {mean}, worst {quantity.readable(quantity.error(worst))} at {worst.cell}"
    return Verdict(contender, criterion, measured, bool(all_) and len(held) == len(all_))


def by_chance(intervals: int) -> int:
    """How many of so many true 95 % intervals may miss: the 97.5 % quantile of the binomial distribution."""
    miss = 1 - CONFIDENCE
    total = 0.0
    for count in range(intervals + 1):
        total += comb(intervals, count) * miss**count * CONFIDENCE ** (intervals - count)
        if total >= 0.975:
            return count
    return intervals


def _compare(contender: str, store: Store) -> Iterator[Verdict]:
    """No cell worse than TCLink's by more than noise, and a mean error of at most half of its.

    The error of loss is left out of the latter: it is the same dice that both throw, so there is only noise to compare.
    """
    for quantity in (ROUND_TRIP, RATE, LOSS):
        pairs = [
            (result, other)
            for (name, cell), result in store.cells.items()
            if name == contender and (other := store.cells.get(("tclink", cell)))
            if quantity.measured(result) and quantity.measured(other)
        ]
        if not pairs:
            continue
        worse = [own.cell for own, other in pairs if _is_worse(own, other, quantity)]
        where = f": {'; '.join(map(str, worse[:3]))}{' …' * (len(worse) > 3)}" if worse else ""
        yield Verdict(
            contender,
            f"{quantity.name} in no cell worse than TCLink",
            f"{len(worse)} of {len(pairs)}{where}",
            not worse,
        )
        if quantity is not LOSS:
            own_error = fmean(quantity.error(own) for own, _ in pairs)
            their_error = fmean(quantity.error(other) for _, other in pairs)
            yield Verdict(
                contender,
                f"mean error of {quantity.name} at most half of TCLink's",
                f"{quantity.readable(own_error)} against {quantity.readable(their_error)}",
                own_error <= their_error / 2,
            )


def _is_worse(own: CellResult, other: CellResult, quantity: Quantity) -> bool:
    return quantity.error(own) - quantity.error(other) > quantity.noise(own) + quantity.noise(other)
