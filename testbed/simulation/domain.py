"""How far a simulation can be trusted: what it refuses, and how wide its predictions are."""

from dataclasses import dataclass
from typing import Any, Final

from testbed.core.errors import SpecError
from testbed.simulation.calibration import Calibration
from testbed.simulation.simulation import Course

MOST_LOAD: Final = 0.9
"""The load of the busiest node above which a simulation is refused, in seconds of work per second."""

MOST_HANDLING: Final = 0.1
"""The time that a node needs for a message, as a share of an inference, from which a simulation is refused.

Messages take their time from the inference that is at work. The simulation puts that time beside it.
"""

LEAST_DRIFT: Final = 0.05
"""By how much mean service times differ between runs of one scenario at least, as a share (docs/simulation.md)."""


@dataclass(frozen=True)
class Domain:
    """What a simulation was calibrated by, and the load that it came to."""

    calibration: Calibration
    load: float

    @classmethod
    def of(cls, calibration: Calibration, course: Course) -> "Domain":
        """Raises SpecError if a node has more to do than the simulation can say anything about."""
        busiest = max(course.loads, key=lambda node: course.loads[node])
        if course.load > MOST_LOAD:
            raise SpecError.of(
                "simulate",
                f"{busiest} has {course.load:.2f} s of work per second; above {MOST_LOAD:g} a small error of the "
                "service times decides, so no number is given; lower the rate of prompts",
            )
        return cls(calibration, course.load)

    @property
    def error(self) -> float:
        """By which share latencies and queues may be off: the drift of service times, times 1/(1−ρ).

        Waiting grows as ρ/(1−ρ), so that a relative error of the service time counts 1/(1−ρ) times.
        """
        return max(LEAST_DRIFT, self.calibration.drift) / (1 - self.load)

    @property
    def sentences(self) -> list[str]:
        """For people."""
        calibration = self.calibration
        said = [
            f"no node and no link was there; calibrated by {', '.join(calibration.runs)}",
            "answers were drawn again from recorded ones, so scores are estimates",
            f"latencies and queues within ±{self.error:.0%}, at a load of {self.load:.2f} of the busiest node",
        ]
        if self.load > calibration.utilisation:
            said.append(f"that load is above the calibrating runs' {calibration.utilisation:.2f}: an extrapolation")
        return said

    def as_dict(self) -> dict[str, Any]:
        """For ``manifest.json``."""
        return {
            "from": self.calibration.runs,
            "outcomes": "drawn again",
            "load": self.load,
            "calibrated_load": self.calibration.utilisation,
            "drift": self.calibration.drift,
            "error": self.error,
            "handling_seconds": self.calibration.handling,
            "inference_seconds": self.calibration.inference,
        }


def check_messages(calibration: Calibration) -> None:
    """Raise SpecError if messages take too much of the nodes' time."""
    handling, inference = calibration.handling, calibration.inference
    if handling > MOST_HANDLING * inference:
        raise SpecError.of(
            "--from",
            f"nodes need {1e3 * handling:.3g} ms for a message and {1e3 * inference:.3g} ms for an inference; a "
            f"message must take less than {MOST_HANDLING:.0%} of it: let models write more, or take larger ones",
        )
