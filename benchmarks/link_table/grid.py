"""The cells of the table, and the values that tools must measure in each."""

from dataclasses import dataclass
from itertools import product
from typing import Final

from testbed.schema.network.direction import Direction, Loss
from testbed.schema.network.link_trace import FRAME

BANDWIDTHS: Final = (1e6, 10e6, 50e6, 100e6, 500e6)
DELAYS: Final = (0.0, 0.001, 0.005, 0.020, 0.100)
LOSSES: Final = (0.0, 0.001, 0.01, 0.05)

PING_FRAME: Final = 98
"""Bytes of a ping's frame: 56 of data, 8 of ICMP, 20 of IP, 14 of Ethernet."""

TCP_PAYLOAD: Final = 1448
"""Bytes of payload in a full frame: 1,500 less 20 of IP, 20 of TCP and 12 of its timestamps (RFC 7323)."""


@dataclass(frozen=True, order=True)
class Cell:
    """One link: ``bandwidth`` (bit/s) and ``delay`` (s) in each direction, ``loss`` only from a to b.

    With loss in one direction, the number of missing echo replies is exactly the number of lost requests.
    """

    bandwidth: float
    delay: float
    loss: float

    @property
    def up(self) -> Direction:
        """The direction from a to b."""
        return Direction(self.bandwidth, self.delay, loss=Loss(in_good=self.loss))

    @property
    def down(self) -> Direction:
        """The direction from b to a."""
        return Direction(self.bandwidth, self.delay)

    @property
    def round_trip(self) -> float:
        """Seconds of a ping: the delays of both directions, and the time to send its frame twice."""
        return 2 * (self.delay + PING_FRAME * 8 / self.bandwidth)

    @property
    def tcp_rate(self) -> float:
        """Bits per second of TCP payload: the bandwidth without headers."""
        return self.bandwidth * TCP_PAYLOAD / FRAME

    def __str__(self) -> str:
        return f"{self.bandwidth / 1e6:g} Mbit/s, {self.delay * 1e3:g} ms, {self.loss:.1%}"


TABLE: Final = tuple(Cell(*values) for values in product(BANDWIDTHS, DELAYS, LOSSES))

QUICK: Final = tuple(
    Cell(bandwidth, delay, loss)
    for bandwidth, delay, loss_of_two in zip(BANDWIDTHS, DELAYS, (0.05, 0.01, 0.01, 0.001, 0.01), strict=True)
    for loss in (0.0, loss_of_two)
)
"""Every bandwidth once and every delay once, each with and without loss."""
