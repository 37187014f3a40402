"""Energy of nodes during play, from the power sensors that a topology names."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from testbed.schema.network.node import Node
from testbed.schema.network.sensor import Draw, Energy, PowerSensor, Read

_LOST: Final = 3.0  # seconds and readings without an answer after which a node's energy is not known any more

Lose = Callable[[str, str], None]
"""Told that the sensor of a node does not answer, and why."""


class Meter:
    """Adds up the readings of a sensor: differences of a counter, or power times seconds, by trapezoids."""

    def __init__(self) -> None:
        self.joules = 0.0
        self._last: tuple[float, Energy | Draw] | None = None

    def take(self, t: float, reading: Energy | Draw) -> None:
        """Add a reading at ``t``, in seconds of any clock."""
        match self._last, reading:
            case (_, Energy(before)), Energy(now):
                self.joules += now - before
            case (then, Draw(before)), Draw(now):
                self.joules += (before + now) / 2 * (t - then)
        self._last = t, reading


class Gauge:
    """Reads the sensor of the node ``name`` in a thread of its own, until it is stopped."""

    def __init__(self, name: str, sensor: PowerSensor, lose: Lose) -> None:
        """Find the sensor; raises SensorError."""
        self._name = name
        self._every = sensor.every
        self._read: Read = sensor.open()
        self._lose = lose
        self._meter = Meter()
        self._over = threading.Event()
        self._joules: float | None = None
        self._thread = threading.Thread(target=self._work, name=f"power-{name}", daemon=True)

    @property
    def joules(self) -> float | None:
        """Since the first reading; None before it, and once the sensor does not answer any more."""
        return self._joules

    def start(self) -> None:
        """Begin the thread; a gauge is started once."""
        self._thread.start()

    def stop(self) -> None:
        """Read a last time."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(2 * _LOST)

    def _work(self) -> None:
        answered = due = time.monotonic()
        over = False
        while True:
            try:
                reading = self._read()
            except (OSError, ValueError) as error:
                if time.monotonic() - answered > _LOST * max(1.0, self._every):
                    self._joules = None
                    self._lose(self._name, str(error))
                    return
            else:
                answered = time.monotonic()
                self._meter.take(answered, reading)
                self._joules = self._meter.joules
            if over:
                return
            due += self._every
            over = self._over.wait(max(0.0, due - time.monotonic()))


def gauges(nodes: Mapping[str, Node], lose: Lose) -> dict[str, Gauge]:
    """A gauge for each node that names a sensor; raises SensorError."""
    return {name: Gauge(name, node.power_sensor, lose) for name, node in nodes.items() if node.power_sensor is not None}
