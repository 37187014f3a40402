"""RAPL: the energy counters of x86 processors.

Source: Documentation/power/powercap/powercap.rst of Linux. Counters are in microjoules and begin anew after
``max_energy_range_uj``, on a server within minutes.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from testbed.schema.network.sensor import Energy, PowerSensor, Read, SensorError


class _Zone:
    """A counter that goes on where the kernel's begins anew."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = self._read()
        self._total = 0

    def joules(self) -> float:
        """Since this was made."""
        now = self._read()
        self._total += (now - self._last) % self._range
        self._last = now
        return self._total / 1e6

    def _read(self) -> int:
        return int(self._file.read_text())


class Rapl(PowerSensor):
    """The processor packages of this host, together: all that runs on them counts."""

    zones: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="zones like intel-rapl:0; without them every package"
    )
    folder: str = Field("/sys/class/powercap", description="where the kernel shows zones")

    def open(self) -> Read:
        """Find the counters; raises SensorError."""
        home = Path(self.folder)
        found = [home / zone for zone in self.zones] or sorted(home.glob("intel-rapl:[0-9]"))
        try:
            zones = [_Zone(folder) for folder in found if self.zones or _is_package(folder)]
        except (OSError, ValueError) as error:
            raise SensorError(f"RAPL: {error}") from error
        if not zones:
            raise SensorError(f"RAPL: {home} has no processor package; this host or its virtual machine shows none")
        return lambda: Energy(sum(zone.joules() for zone in zones))


def _is_package(folder: Path) -> bool:
    """Whether a zone is a package: psys, where it is there, counts packages a second time."""
    return (folder / "name").read_text().startswith("package")
