"""The base of power sensors: what tells how much energy a node takes."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from pydantic import Field

from testbed.core.errors import TestbedError
from testbed.core.registry import Registry
from testbed.core.spec import Spec


@dataclass(frozen=True)
class Energy:
    """What a counter says, in joules since a moment of its own."""

    joules: float


@dataclass(frozen=True)
class Draw:
    """The power of this moment, in watts."""

    watts: float


Read = Callable[[], Energy | Draw]
"""Reads a sensor; raises OSError or ValueError where it does not answer, or answers what makes no sense."""


class SensorError(TestbedError):
    """There is no such sensor, or it does not answer."""

    exit_code = 3


class PowerSensor(Spec):
    """A sensor that this host can read, named by ``power_sensor`` of a node in a topology file."""

    every: ClassVar[float] = 0.25
    """Seconds from one reading to the next."""

    kind: str = Field(description="kind of sensor; `testbed kinds` lists them")

    @abstractmethod
    def open(self) -> Read:
        """Find the sensor, and return what reads it; raises SensorError."""


class PowerSwitch(PowerSensor):
    """A sensor that can also take away the power that it measures."""

    @abstractmethod
    def switch(self, on: bool) -> None:
        """Give power or take it away; raises OSError where the switch does not do it."""


SENSORS: Final[Registry[type[PowerSensor]]] = Registry("testbed.sensors", "power sensor", PowerSensor)
