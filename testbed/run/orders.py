"""Runs that are to be played, and the players: this process, or the hosts of a cluster (:mod:`testbed.run.cluster`)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from testbed.analysis.summary import Summary
from testbed.core.errors import TestbedError
from testbed.run import runner
from testbed.schema.scenario import Scenario
from testbed.show.view import Pace, View

_BESIDES_PLAY: Final = 15.0
"""A guess at the seconds that a run takes besides play, used until the first run has been played."""


@dataclass(frozen=True)
class Order:
    """A run that is to be played. ``name`` tells people which one it is; ``directory`` is the default one if None."""

    name: str
    scenario: Scenario
    directory: Path | None = None
    home: str = ""
    """The name of the host that has played other runs of the seed."""

    @property
    def seconds(self) -> float:
        """The seconds of the host's clock that the run will take, by a guess."""
        dilation = 1.0 if self.scenario.dilation == "auto" else self.scenario.dilation
        return self.scenario.extent.seconds * dilation + _BESIDES_PLAY


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its summary, or why it could not be played."""

    order: Order
    result: Summary | TestbedError

    @property
    def summary(self) -> Summary:
        """The summary; raises the error if there is none."""
        if isinstance(self.result, TestbedError):
            raise self.result
        return self.result


class Players(Protocol):
    """Plays runs."""

    def play(self, orders: Sequence[Order], pace: Pace | None = None) -> Iterator[Ended]:
        """Yield each run once it has ended, in any order, and move ``pace`` on.

        Raises KeyboardInterrupt if it is interrupted, unless the summary of a run says so.
        """


Watch = Callable[[str, Pace | None], AbstractContextManager[View]]
"""Makes the view of a run, given the run's name and the progress of the campaign that the run is part of."""


@dataclass(frozen=True)
class ThisHost:
    """Plays runs in this process, one after the other. ``options.out`` is replaced by each order's directory."""

    options: runner.Options
    watch: Watch

    def play(self, orders: Sequence[Order], pace: Pace | None = None) -> Iterator[Ended]:
        for order in orders:
            ended = Ended(order, self._play(order, pace))
            if pace is not None:
                pace.move_on(order.seconds)
            yield ended

    def _play(self, order: Order, pace: Pace | None) -> Summary | TestbedError:
        with self.watch(order.name, pace) as view:
            try:
                return runner.run(order.scenario, replace(self.options, out=order.directory), view)
            except TestbedError as error:
                return error
