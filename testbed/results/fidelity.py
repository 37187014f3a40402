"""How far the emulation delivered what the topology asked for.

So far it compares, before play, the round trip between nodes with the delays and the bandwidths on the way.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from testbed.emulation.network import PING_FRAME
from testbed.spec.topology import Topology

# Beyond the first pair a round trip is distorted, beyond the second the links are not those that were asked for. In
# each, the larger of the two counts: seconds, and the share of the round trip.
_DISTORTED: Final = (0.002, 0.05)
_INVALID: Final = (0.050, 1.0)

Verdict = Literal["valid", "distorted", "invalid", "unmeasured"]


@dataclass(frozen=True)
class RoundTrip:
    """Between two nodes, in seconds: what the links' properties add up to, and what was measured."""

    source: str
    target: str
    asked: float
    measured: float | None

    @property
    def verdict(self) -> Verdict:
        """How good it is."""
        if self.measured is None:
            return "invalid"
        off = abs(self.measured - self.asked)
        for verdict, (seconds, share) in (("invalid", _INVALID), ("distorted", _DISTORTED)):
            if off > max(seconds, share * self.asked):
                return verdict  # type: ignore[return-value]
        return "valid"

    def __str__(self) -> str:
        measured = "nothing came back" if self.measured is None else f"{self.measured * 1e3:.1f} ms"
        return f"round trip {self.source}–{self.target}: asked {self.asked * 1e3:.1f} ms, measured {measured}"


@dataclass(frozen=True)
class Fidelity:
    """The verdict on a run's emulation, with the reasons for any but ``valid``."""

    verdict: Verdict = "unmeasured"
    reasons: list[str] = field(default_factory=list)
    round_trips: list[RoundTrip] = field(default_factory=list)

    def broken(self, reason: str | None) -> "Fidelity":
        """The verdict after ``reason`` broke the emulation, or the same if there is none."""
        return self if reason is None else replace(self, verdict="invalid", reasons=[*self.reasons, reason])

    def as_dict(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return asdict(self)


def judge_fidelity(
    topology: Topology, measured: Mapping[tuple[str, str], float | None], oversubscribed: bool
) -> Fidelity:
    """From round trips measured between pairs of nodes."""
    trips = [RoundTrip(*pair, expected_round_trip(topology, *pair), seconds) for pair, seconds in measured.items()]
    reasons = [str(trip) for trip in trips if trip.verdict != "valid"]
    if oversubscribed:
        reasons.append("the nodes may use more CPU together than the host has")
    if any(trip.verdict == "invalid" for trip in trips):
        return Fidelity("invalid", reasons, trips)
    return Fidelity("distorted" if reasons else "valid", reasons, trips)


def expected_round_trip(topology: Topology, source: str, target: str) -> float:
    """Seconds that a ping takes over links with the properties asked for."""
    return sum(
        way.delay + (PING_FRAME * 8 / way.bandwidth if way.bandwidth else 0.0)
        for link in topology.route(source, target)
        for way in (link.up, link.down)
    )
