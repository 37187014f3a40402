"""What the runner tells a view of a run, and the progress of a campaign."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from testbed.analysis.board import NodeBoard


class View(Protocol):
    """A view of a run, which the runner tells of its progress."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def step(self, what: str) -> None:
        """Something that takes time begins within the stage."""

    def fetch(self, model: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` bytes of a model are fetched; None if the total is unknown."""

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Play begins, with ``prompts`` to come. ``boards`` and the active ``faults`` change during play.

        Their times are virtual: ``dilation`` times slower than the host's clock.
        """


@dataclass
class Pace:
    """The progress of a campaign: its runs, those that are done, and the expected seconds of the others.

    ``hosts`` is the number of those that play at once.
    """

    total: int
    done: int
    expected: float
    hosts: int = 1
    _began: float = field(default_factory=lambda: time.monotonic())
    _expected_of_done: float = 0.0
    _spent: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds from now on, if the other runs deviate from what was expected as those that were played did."""
        factor = self._spent / self._expected_of_done if self._expected_of_done else 1 / self.hosts
        return max(0.0, self.expected * factor - (time.monotonic() - self._began - self._spent))

    def move_on(self, expected: float) -> None:
        """Count a run as done that was ``expected`` to take so many seconds."""
        self.done += 1
        self.expected -= expected
        self._expected_of_done += expected
        self._spent = time.monotonic() - self._began
