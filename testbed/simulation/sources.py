"""Where the times, sizes and answers of a simulation come from: drawn again from recorded ones."""

import random
from collections.abc import Mapping, Sequence
from functools import cache
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
        self._known_services = cache(self._find_services)
        self._known_legs = cache(self._find_legs)
        self._known_sizes = cache(self._find_sizes)

    def service(self, job: str, kind: Kind, own: bool, first: bool) -> float:
        """Of jobs of the kind: those alike in ``own`` and ``first``, else in one of them, else any."""
        del job
        return _draw(self._services, self._known_services(kind, own, first))

    def leg(self, name: LegName, role: str, busy: bool) -> float:
        """Of legs of the name: those alike in role and ``busy``, else in the role, else in any."""
        return _draw(self._legs, self._known_legs(name, role, busy))

    def size(self, part: str, kind: Kind) -> int:
        """Of bodies of the kind, or of its role and number of responses read at any device."""
        return _draw(self._sizes, self._known_sizes(part, kind))

    def _find_services(self, kind: Kind, own: bool, first: bool) -> Sequence[float]:
        keys = [(kind, one, two) for one in (own, not own) for two in (first, not first)]
        return _first(self._calibration.services, keys, str(kind))

    def _find_legs(self, name: LegName, role: str, busy: bool) -> Sequence[float]:
        known = self._calibration.legs
        roles = (role, *dict.fromkeys(other for leg, other, _ in known if leg == name))
        return _first(known, [(name, one, two) for one in roles for two in (busy, not busy)], f"a {name} leg")

    def _find_sizes(self, part: str, kind: Kind) -> Sequence[int]:
        known = self._calibration.sizes
        alike = [key for key in known if key[0] == part and key[1].role == kind.role and key[1].reads == kind.reads]
        return _first(known, [(part, kind), *alike], f"a {part} of the role {kind.role!r} to another node")

    def stand_in(self, question: Question) -> str:
        """By :class:`.outcomes.Outcomes`."""
        return self._outcomes.stand_in(question)

    def completion(self, kind: Kind, question: Question, stand_in: str, read: Sequence[str]) -> Completion:
        """By :class:`.outcomes.Outcomes`."""
        return self._outcomes.draw(kind, question, stand_in, read)


def _first(known: Mapping[_Key, Sequence[_Value]], keys: Sequence[_Key], what: str) -> Sequence[_Value]:
    """What is known of the first of ``keys`` of which anything is; raises SpecError that no run has ``what``."""
    for key in keys:
        if key in known:
            return known[key]
    raise unknown(what)


def _draw(generator: random.Random, values: Sequence[_Value]) -> _Value:
    return values[int(generator.random() * len(values))]
