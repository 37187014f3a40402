"""The quantities measured in cells (round trip, TCP rate, loss) and their tolerances."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median, stdev
from typing import Final

from link_table.grid import Cell
from link_table.results import CellResult
from testbed.analysis.distributions import wilson_interval


@dataclass(frozen=True)
class Quantity:
    """One quantity.

    ``value`` is the measured value (None without one) and ``asked`` the value of a cell; times ``scale`` they are in
    ``unit``. ``error`` is the deviation of a result and ``noise`` the uncertainty of the measurement; times
    ``error_scale`` they are in ``error_unit``. ``held`` is whether the deviation is within the tolerance.
    """

    name: str
    unit: str
    scale: float
    error_unit: str
    error_scale: float
    asked: Callable[[Cell], float]
    value: Callable[[CellResult], float | None]
    error: Callable[[CellResult], float]
    noise: Callable[[CellResult], float]
    held: Callable[[CellResult], bool]

    def readable_error(self, error: float) -> str:
        """A deviation with its unit, for people."""
        return f"{error * self.error_scale:.3g} {self.error_unit}"


def round_trip(result: CellResult) -> float | None:
    """Seconds of the median burst: a busy host makes single bursts slower, but none faster."""
    return median(result.round_trips) if result.round_trips else None


def tcp_rate(result: CellResult) -> float | None:
    """Mean bits per second."""
    return fmean(result.rates) if result.rates else None


def loss(result: CellResult) -> float | None:
    """The share of frames that were lost, from 0 to 1."""
    return 1 - result.received / result.sent if result.sent else None


def _round_trip_error(result: CellResult) -> float:
    return abs((round_trip(result) or 0.0) - result.cell.round_trip)


def _rate_error(result: CellResult) -> float:
    return abs((tcp_rate(result) or 0.0) / result.cell.tcp_rate - 1)


def _loss_error(result: CellResult) -> float:
    return abs((loss(result) or 0.0) - result.cell.loss)


def _loss_interval(result: CellResult) -> tuple[float, float]:
    return wilson_interval(result.sent - result.received, result.sent) or (0.0, 1.0)


def _half_loss_interval(result: CellResult) -> float:
    least, most = _loss_interval(result)
    return (most - least) / 2


def _loss_held(result: CellResult) -> bool:
    least, most = _loss_interval(result)
    return least <= result.cell.loss <= most


def _uncertainty(repeats: list[float]) -> float:
    """The uncertainty of the mean of repeated measurements: twice its standard error."""
    return 2 * stdev(repeats) / sqrt(len(repeats)) if len(repeats) > 1 else 0.0


ROUND_TRIP: Final = Quantity(
    name="RTT",
    unit="ms",
    scale=1e3,
    error_unit="ms",
    error_scale=1e3,
    asked=lambda cell: cell.round_trip,
    value=round_trip,
    error=_round_trip_error,
    noise=lambda result: _uncertainty(result.round_trips),
    held=lambda result: _round_trip_error(result) <= max(0.2e-3, 0.02 * result.cell.round_trip),
)
RATE: Final = Quantity(
    name="TCP",
    unit="Mbit/s",
    scale=1e-6,
    error_unit="%",
    error_scale=1e2,
    asked=lambda cell: cell.tcp_rate,
    value=tcp_rate,
    error=_rate_error,
    noise=lambda result: _uncertainty(result.rates) / result.cell.tcp_rate,
    held=lambda result: _rate_error(result) <= 0.05,
)
LOSS: Final = Quantity(
    name="lost",
    unit="%",
    scale=1e2,
    error_unit="percentage points",
    error_scale=1e2,
    asked=lambda cell: cell.loss,
    value=loss,
    error=_loss_error,
    noise=_half_loss_interval,
    held=_loss_held,
)
QUANTITIES: Final = (ROUND_TRIP, RATE, LOSS)
