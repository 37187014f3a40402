"""How far the emulation delivered what the topology asked for: the verdict, and what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Mode = Literal["off", "quick", "full"]
"""How thoroughly the links are measured."""

Verdict = Literal["valid", "distorted", "invalid", "unmeasured"]
"""``distorted``: the numbers are those of links or devices that differ from what was asked. ``invalid``: of nothing."""

_WORSE: Final[tuple[Verdict, ...]] = ("distorted", "invalid")


@dataclass(frozen=True)
class Flaw:
    """One thing that was not as asked, as a sentence, and how bad that is."""

    verdict: Literal["distorted", "invalid"]
    reason: str


@dataclass(frozen=True)
class Fidelity:
    """What was found out about a run's emulation.

    ``links``, ``host`` and ``health`` are the figures behind the flaws, as they go into ``summary.json``; each is
    None where nobody looked. Whether links were measured makes the difference between valid and unmeasured.
    """

    mode: Mode = "off"
    flaws: Sequence[Flaw] = ()
    links: Mapping[str, Any] | None = None
    host: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of all flaws."""
        if self.flaws:
            return max((flaw.verdict for flaw in self.flaws), key=_WORSE.index)
        return "unmeasured" if self.links is None else "valid"

    @property
    def reasons(self) -> list[str]:
        """The flaws as sentences, the worst first; each of them once."""
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
