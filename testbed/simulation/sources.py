"""Where the times, sizes and answers of a simulation come from: drawn again from recorded ones."""

import random
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from testbed.core import seeds
from testbed.patterns.participant import Completion
from testbed.simulation.calibration import Calibration, Kind, LegName, unknown
from testbed.simulation.outcomes import Outcomes
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer

_Value = TypeVar("_Value")
_Key = TypeVar("_Key")


class Source(Protocol):
    """What a simulation asks for whenever something takes time, or speaks. Times are in seconds, sizes in bytes."""

    def service(self, job: str, kind: Kind, own: bool, first: bool) -> float:
        """For how long a job holds its queue, which is ``first`` in an empty one."""

    def leg(self, name: LegName, role: str, busy: bool) -> float:
        """What a node needs besides links and inferences; it can be below 0 by the error of measured times."""

    def size(self, part: str, kind: Kind) -> int:
        """The body of a request or of a response."""

    def stand_in(self, question: Question) -> str:
        """The text of the recorded question whose answers stand for those to ``question``, in all calls of a prompt."""

    def completion(self, kind: Kind, question: Question, stand_in: str, read: Sequence[str]) -> Completion:
        """What the model writes, having read the responses ``read``."""


class Redrawn:
    """Draws from what runs recorded. A kind that no run has is refused by name, with SpecError."""

    def __init__(self, calibration: Calibration, scorer: Scorer, seed: int) -> None:
        self._calibration = calibration
        self._services = seeds.stream(seed, "simulation", "services")
        self._legs = seeds.stream(seed, "simulation", "legs")
        self._sizes = seeds.stream(seed, "simulation", "sizes")
        self._outcomes = Outcomes(calibration.cases, scorer, seeds.stream(seed, "simulation", "outcomes"))

    def service(self, job: str, kind: Kind, own: bool, first: bool) -> float:
        """Of jobs of the kind: those alike in ``own`` and ``first``, else in one of them, else any."""
        del job
        found = _first(
            self._calibration.services, [(kind, one, two) for one in (own, not own) for two in (first, not first)]
        )
        if not found:
            raise unknown(str(kind))
        return _draw(self._services, found)

    def leg(self, name: LegName, role: str, busy: bool) -> float:
        """Of legs of the name: those alike in role and ``busy``, else in the role, else in any."""
        known = self._calibration.legs
        roles = (role, *dict.fromkeys(other for leg, other, _ in known if leg == name))
        found = _first(known, [(name, one, two) for one in roles for two in (busy, not busy)])
        return _draw(self._legs, found) if found else 0.0

    def size(self, part: str, kind: Kind) -> int:
        """Of bodies of the kind, or of the role at any device."""
        known = self._calibration.sizes
        alike = [key for key in known if key[0] == part and key[1].role == kind.role and key[1].reads == kind.reads]
        found = _first(known, [(part, kind), *alike])
        if not found:
            raise unknown(f"a {part} of the role {kind.role!r} to another node")
        return _draw(self._sizes, found)

    def stand_in(self, question: Question) -> str:
        """By :class:`.outcomes.Outcomes`."""
        return self._outcomes.stand_in(question)

    def completion(self, kind: Kind, question: Question, stand_in: str, read: Sequence[str]) -> Completion:
        """By :class:`.outcomes.Outcomes`."""
        return self._outcomes.draw(kind, question, stand_in, read)


def _first(known: Mapping[_Key, Sequence[_Value]], keys: Sequence[_Key]) -> Sequence[_Value]:
    """What is known of the first of ``keys`` of which anything is."""
    for key in keys:
        if key in known:
            return known[key]
    return ()


def _draw(generator: random.Random, values: Sequence[_Value]) -> _Value:
    return values[int(generator.random() * len(values))]
