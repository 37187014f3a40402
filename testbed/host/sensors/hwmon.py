"""hwmon: sensors on boards, like INA226 and the INA3221 of a Jetson.

Source: Documentation/hwmon/sysfs-interface.rst of Linux: power in microwatts, voltage in millivolts, current in
milliamperes.
"""

from pathlib import Path

from pydantic import Field

from testbed.schema.network.sensor import Draw, PowerSensor, Read, SensorError


class Hwmon(PowerSensor):
    """A chip that measures power, or voltage and current, on one of its channels."""

    chip: str | None = Field(None, description="its name, like ina226; may be left out where one chip measures power")
    channel: int = Field(1, ge=1, description="number of the channel, as in power1_input or in1_input")
    folder: str = Field("/sys/class/hwmon", description="where the kernel shows chips")

    def open(self) -> Read:
        """Find the chip; raises SensorError."""
        chips = sorted(Path(self.folder).glob("hwmon*"))
        try:
            named = {chip: (chip / "name").read_text().strip() for chip in chips}
        except OSError as error:
            raise SensorError(f"hwmon: {error}") from error
        measuring = [chip for chip in chips if self._power(chip) or self._flow(chip)]
        fitting = [chip for chip in measuring if self.chip in (None, named[chip])]
        if len(fitting) != 1:
            known = ", ".join(named[chip] for chip in measuring) or "none"
            wanted = f"chip {self.chip}" if self.chip else "one chip"
            raise SensorError(f"hwmon: {wanted} should measure power on channel {self.channel}; those that do: {known}")
        (chip,) = fitting
        power = chip / f"power{self.channel}_input"
        voltage, current = chip / f"in{self.channel}_input", chip / f"curr{self.channel}_input"
        if self._power(chip):
            return lambda: Draw(int(power.read_text()) / 1e6)
        return lambda: Draw(int(voltage.read_text()) * int(current.read_text()) / 1e6)

    def _power(self, chip: Path) -> bool:
        return (chip / f"power{self.channel}_input").exists()

    def _flow(self, chip: Path) -> bool:
        return (chip / f"in{self.channel}_input").exists() and (chip / f"curr{self.channel}_input").exists()
