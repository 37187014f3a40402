"""Who watches a run, and what a sweep tells of its progress."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from testbed.analysis.board import NodeBoard


class View(Protocol):
    """Whoever watches a run."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def step(self, what: str) -> None:
        """Something that takes time begins within the stage."""

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Play begins, with so many prompts to come; the boards and the active faults change as it goes on.

        What they say is in virtual time, which is ``dilation`` times slower.
        """


@dataclass
class Pace:
    """How far a sweep has come: runs in all, those that are done, and the seconds that the others may take."""

    total: int
    done: int
    expected: float
    _began: float = field(default_factory=lambda: time.monotonic())
    _expected_of_done: float = 0.0
    _spent: float = 0.0

    @property
    def seconds_left(self) -> float:
        """From now on, if the others are as much slower or faster than expected as those that were played."""
        factor = self._spent / self._expected_of_done if self._expected_of_done else 1.0
        return max(0.0, self.expected * factor - (time.monotonic() - self._began - self._spent))

    def move_on(self, expected: float) -> None:
        """A run is done that was expected to take so long."""
        self.done += 1
        self.expected -= expected
        self._expected_of_done += expected
        self._spent = time.monotonic() - self._began
