"""Measures one cell with one contender."""

import subprocess

from pyroute2 import NetlinkError

from link_table.grid import Cell
from link_table.pairs import Bench, Contender, Pair
from link_table.results import CellResult
from link_table.tools import SMALLEST_FRAME, ToolError, count_echoes, meet, ping, tcp_rates
from testbed.core.errors import TestbedError

TROUBLES = (ToolError, TestbedError, NetlinkError, OSError, RuntimeError, subprocess.SubprocessError)
"""Exceptions of a link that a contender cannot make, or that carries nothing."""

_BURSTS, _PINGS, _PING_INTERVAL = 5, 10, 0.01
_ECHOES, _ECHO_INTERVAL = 10_000, 0.25e-3
_LOAD = 0.8  # share of the bandwidth that the echoes take at most, so that none is lost to a full queue


def measure(contender: Contender[Bench], cell: Cell) -> CellResult:
    """Make the link, measure it and remove it. The result has the reason of a failure."""
    try:
        with contender.bench() as bench:
            return _measure(contender.name, cell, bench.join(cell.up, cell.down))
    except TROUBLES as error:
        return CellResult(contender.name, cell, trouble=str(error) or repr(error))


def _measure(contender: str, cell: Cell, pair: Pair) -> CellResult:
    meet(pair)
    round_trips = [ping(pair, _PINGS, _PING_INTERVAL).mean for _ in range(_BURSTS)]
    if cell.loss:
        interval = max(_ECHO_INTERVAL, SMALLEST_FRAME * 8 / cell.bandwidth / _LOAD)
        sent, received = count_echoes(pair, _ECHOES, interval)
        return CellResult(contender, cell, round_trips, sent=sent, received=received)
    try:
        rates = tcp_rates(pair, cell.bandwidth, cell.round_trip)
    except ToolError as error:
        return CellResult(contender, cell, round_trips, trouble=str(error))
    return CellResult(contender, cell, round_trips, rates)
