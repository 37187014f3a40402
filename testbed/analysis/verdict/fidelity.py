"""Fidelity: the verdict on how well the emulation delivered what the topology asked for, and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Mode = Literal["off", "quick", "full"]
"""The effort spent on measuring the links."""

Verdict = Literal["valid", "distorted", "invalid", "unmeasured", "simulated"]
"""``distorted``: links or devices differed from what was asked. ``invalid``: so much that the numbers mean nothing.

``simulated``: nothing was emulated, so that there is nothing to be faithful to.
"""

_WORSE: Final[tuple[Verdict, ...]] = ("distorted", "invalid")


@dataclass(frozen=True)
class Flaw:
    """One property of the emulation that was not as asked: its severity, and a sentence about it."""

    verdict: Literal["distorted", "invalid"]
    reason: str


@dataclass(frozen=True)
class Fidelity:
    """The flaws of a run's emulation.

    ``links``, ``host`` and ``health`` are the figures behind the flaws, for ``summary.json``; each is None if it was
    not measured. A run without flaws is ``unmeasured`` if its links were not measured. ``simulation`` is None of an
    emulated run; of a simulated one, it says in sentences what it was calibrated by and how far it can be trusted.
    """

    mode: Mode = "off"
    flaws: Sequence[Flaw] = ()
    links: Mapping[str, Any] | None = None
    host: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None
    simulation: Sequence[str] | None = None

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> "Fidelity":
        """From what :meth:`as_dict` wrote. Every flaw has the verdict of the worst, since a summary has no other."""
        flaws = [Flaw(written["verdict"], reason) for reason in written["reasons"]]
        return cls(written["mode"], flaws, written["links"], written["host"], written["health"])

    @property
    def verdict(self) -> Verdict:
        """The verdict of the worst flaw."""
        if self.simulation is not None:
            return "simulated"
        if self.flaws:
            return max((flaw.verdict for flaw in self.flaws), key=_WORSE.index)
        return "unmeasured" if self.links is None else "valid"

    @property
    def reasons(self) -> list[str]:
        """The flaws as sentences, the worst first, each once; of a simulated run, what it was calibrated by."""
        if self.simulation is not None:
            return list(self.simulation)
        ordered = sorted(self.flaws, key=lambda flaw: -_WORSE.index(flaw.verdict))
        return list(dict.fromkeys(flaw.reason for flaw in ordered))

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {
            "verdict": self.verdict,
            "reasons": self.reasons,
            "mode": self.mode,
            "links": self.links,
            "host": self.host,
            "health": self.health,
        }
