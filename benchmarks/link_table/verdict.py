"""The criteria for links as a whole, and whether measurements meet them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean
from typing import Final

from link_table.pairs import TCLINK
from link_table.quantities import LOSS, RATE, ROUND_TRIP, Quantity
from link_table.results import CaseResult, CellResult, Store

_AIM: Final = 0.2e-3  # seconds of error of a round trip over userspace links, at any delay
_MISS: Final = 0.05  # probability that a 95 % interval misses its value
_CELLS_NAMED = 3


@dataclass(frozen=True)
class Verdict:
    """A criterion for one contender, the measured value, and whether it is met."""

    contender: str
    criterion: str
    measured: str
    held: bool


def judge(store: Store) -> Iterator[Verdict]:
    """The verdicts on all criteria for all measured contenders."""
    contenders = list(dict.fromkeys(contender for contender, _ in store.cells))
    for contender in contenders:
        results = [result for (name, _), result in store.cells.items() if name == contender]
        yield from _judge_cells(contender, results)
        yield from (_judge_case(case) for case in store.cases if case.contender == contender)
        if contender != TCLINK.name and TCLINK.name in contenders:
            yield from _compare(contender, store)


def _judge_cells(contender: str, results: Sequence[CellResult]) -> Iterator[Verdict]:
    trips = _measured(results, ROUND_TRIP)
    rates = _measured(results, RATE)
    losses = _measured(results, LOSS)
    if trips:
        missed = [result for result in trips if not ROUND_TRIP.held(result)]
        yield _counted("RTT within 0.2 ms or 2 %", ROUND_TRIP, trips, missed)
    if trips and contender == "userspace":
        missed = [result for result in trips if ROUND_TRIP.error(result) >= _AIM]
        yield _counted("RTT within 0.2 ms at any delay", ROUND_TRIP, trips, missed)
    if rates:
        missed = [result for result in rates if not RATE.held(result)]
        yield _counted("TCP rate within 5 %", RATE, rates, missed)
    if losses:
        outside, chance = sum(not LOSS.held(result) for result in losses), misses_by_chance(len(losses))
        criterion = f"loss outside of its 95 % interval in no more than {chance} cells, as chance has it"
        yield Verdict(contender, criterion, f"{outside} of {len(losses)}", outside <= chance)
    whole = sum(not result.trouble for result in results)
    yield Verdict(contender, "every cell measured", f"{whole} of {len(results)}", whole == len(results))


def _measured(results: Sequence[CellResult], quantity: Quantity) -> list[CellResult]:
    return [result for result in results if quantity.value(result) is not None]


def _counted(criterion: str, quantity: Quantity, results: list[CellResult], missed: list[CellResult]) -> Verdict:
    worst = max(results, key=quantity.error)
    mean_error, worst_error = fmean(map(quantity.error, results)), quantity.error(worst)
    measured = (
        f"{len(results) - len(missed)} of {len(results)}; mean error {quantity.readable_error(mean_error)}, "
        f"worst {quantity.readable_error(worst_error)} at {worst.cell}"
    )
    return Verdict(worst.contender, criterion, measured, not missed)


def misses_by_chance(intervals: int) -> int:
    """How many of ``intervals`` correct 95 % intervals may miss: the 97.5 % quantile of the binomial distribution."""
    probability = 0.0
    for misses in range(intervals + 1):
        probability += comb(intervals, misses) * _MISS**misses * (1 - _MISS) ** (intervals - misses)
        if probability >= 0.975:
            return misses
    return intervals


def _judge_case(case: CaseResult) -> Verdict:
    bounds = {"≥": case.least, "≤": case.most}
    said = [f"{sign} {bound:.4g} {case.unit}".strip() for sign, bound in bounds.items() if bound is not None]
    measured = case.trouble if case.measured is None else f"{case.measured:.4g} {case.unit}".strip()
    return Verdict(case.contender, f"{case.what}: {' and '.join(said)}", measured, case.held)


def _compare(contender: str, store: Store) -> Iterator[Verdict]:
    """No cell is worse than TCLink's beyond noise, and the mean error is at most half of TCLink's.

    The mean excludes loss, whose error is random in both.
    """
    for quantity in (ROUND_TRIP, RATE, LOSS):
        pairs = [
            (store.cells[contender, cell], other)
            for (name, cell), other in store.cells.items()
            if name == TCLINK.name and quantity.value(other) is not None and (contender, cell) in store.cells
        ]
        worse = [own.cell for own, other in pairs if _is_worse(quantity, own, other)]
        named = ", ".join(f"({cell})" for cell in worse[:_CELLS_NAMED])
        measured = f"{len(worse)} of {len(pairs)}{': ' * bool(worse)}{named}{' …' * (len(worse) > _CELLS_NAMED)}"
        yield Verdict(contender, f"{quantity.name}: no cell worse than TCLink by more than noise", measured, not worse)
        both = [(own, other) for own, other in pairs if quantity.value(own) is not None]
        if both and quantity is not LOSS:
            own_error, their_error = (fmean(map(quantity.error, side)) for side in zip(*both, strict=True))
            yield Verdict(
                contender,
                f"{quantity.name}: mean error at most half of TCLink's",
                f"{quantity.readable_error(own_error)} against {quantity.readable_error(their_error)}",
                own_error <= their_error / 2,
            )


def _is_worse(quantity: Quantity, own: CellResult, other: CellResult) -> bool:
    if quantity.value(own) is None:
        return True
    return quantity.error(own) - quantity.error(other) > quantity.noise(own) + quantity.noise(other)
