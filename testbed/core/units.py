"""Quantities in files (``10ms``, ``5mbit``, ``512MiB``) and in the code.

In files every quantity has a unit. In the code durations are in seconds, bandwidths in bits per second, sizes in bytes,
power in watts, rates in events per second, and shares and probabilities from 0 to 1.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_QUANTITY = re.compile(r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(\D.*)?")


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity.

    ``units`` are multiples of the unit used in the code, in ascending order. ``spellings`` are other names of units
    that are read and never written. ``ambiguous`` has abbreviations that mean one unit here and another elsewhere, with
    the units that they may mean. ``example`` shows the form in messages. ``least`` and ``most`` are inclusive, in the
    unit used in the code; ``positive`` excludes 0.
    """

    name: str
    units: Mapping[str, float]
    example: str
    positive: bool = False
    least: float = 0.0
    most: float = math.inf
    spellings: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def parse(self, value: object) -> float:
        """The value of a text like ``10ms``, in the unit used in the code; raises ValueError."""
        match = _QUANTITY.fullmatch(str(value).strip())
        if match is None:
            raise ValueError(f"{value!r} is not a {self.name}; write it like {self.example}")
        number, unit = float(match[1]), match[2]
        if math.isinf(number):
            raise ValueError(f"{value!r} is too large for a {self.name}; write it like {self.example}")
        if unit is None:
            raise ValueError(f"{value} has no unit; write it like {self.example} (units: {', '.join(self.units)})")
        if unit in self.ambiguous:
            meant = " or ".join(f"{match[1]}{meaning}" for meaning in self.ambiguous[unit])
            raise ValueError(f"{value!r} has the ambiguous unit {unit!r}; write {meant}")
        unit = self.spellings.get(unit, unit)
        if unit not in self.units:
            raise ValueError(f"{value!r} has the unknown unit {unit!r}; known are {', '.join(self.units)}")
        if number < 0 or (self.positive and number == 0):
            raise ValueError(f"{value!r} must be {'above' if self.positive else 'at least'} zero, like {self.example}")
        amount = number * self.units[unit]
        if not self.least <= amount <= self.most:
            bound = f"at most {self.format(self.most)}" if amount > self.most else f"at least {self.format(self.least)}"
            raise ValueError(f"{value!r} must be {bound}, like {self.example}")
        return amount

    def scaled(self, value: float) -> tuple[float, str]:
        """``value`` in the largest unit in which it is at least 1, and that unit."""
        fitting = [(unit, factor) for unit, factor in self.units.items() if value >= factor]
        unit, factor = fitting[-1] if fitting else next(iter(self.units.items()))
        return value / factor, unit

    def readable(self, value: float) -> str:
        """``value`` with three significant digits, for people."""
        number, unit = self.scaled(value)
        return f"{number:.3g} {unit}"

    def format(self, value: float) -> str:
        """``value`` as in files. :meth:`parse` of it gives ``value`` again; of a share, to twelve digits."""
        number, unit = self.scaled(value)
        short = f"{number:.12g}{unit}"
        base = [unit for unit, factor in self.units.items() if factor == 1]
        return short if self.parse(short) == value or not base else f"{value!r}{base[0]}"


DURATION = Quantity(
    "duration",
    {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "10ms",
    spellings={"µs": "us", "μs": "us", "sec": "s"},  # the micro sign and the Greek letter
    ambiguous={"m": ("ms", "min")},
)
DELAY = replace(DURATION, name="delay", most=3600.0)
BANDWIDTH = Quantity(
    "bandwidth",
    {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9},
    "10mbit",
    positive=True,
    spellings={
        f"{written}{form}": f"{prefix}bit"
        for prefix in ("", "k", "m", "g")
        for written in {prefix, prefix.upper()}
        for form in ("bit", "bit/s", "bps")
    },
    ambiguous={written: (f"{written.lower()}bit",) for written in ("k", "K", "m", "M", "g", "G")},
)
LINK_BANDWIDTH = replace(BANDWIDTH, least=1e3)  # below that, one frame takes more than ten seconds
SIZE = Quantity(
    "size",
    {"B": 1, "kB": 1e3, "KiB": 2**10, "MB": 1e6, "MiB": 2**20, "GB": 1e9, "GiB": 2**30},
    "512MiB",
    positive=True,
    spellings={"KB": "kB"},
    ambiguous={
        **dict.fromkeys(("k", "K", "Ki"), ("KiB", "kB")),
        **dict.fromkeys(("m", "M", "Mi"), ("MiB", "MB")),
        **dict.fromkeys(("g", "G", "Gi"), ("GiB", "GB")),
    },
)
SHARE = Quantity("share", {"%": 0.01}, "1%", most=1.0)
PACKETS = Quantity("number of packets", {"packets": 1}, "100packets", positive=True, most=1e9)
POWER = Quantity("power", {"mW": 1e-3, "W": 1.0, "kW": 1e3}, "8W", positive=True, most=1e6)
RATE = Quantity("rate", {"/h": 1 / 3600, "/min": 1 / 60, "/s": 1.0}, "0.2/s", positive=True)

SCALED: Final[Mapping[str, Quantity]] = {"s": DURATION, "B": SIZE, "%": SHARE}
"""The quantities of metrics by unit. The value of a share is from 0 to 1."""


def readable(value: float, unit: str) -> str:
    """The value of a metric for people, with three significant digits and its unit."""
    quantity = SCALED.get(unit)
    return f"{_three_digits(value)} {unit}".rstrip() if quantity is None else quantity.readable(value)


def with_margin(value: float, margin: float | None, unit: str) -> str:
    """``81.2 ± 3.4 ms``"""
    quantity = SCALED.get(unit)
    scaled, name = (value, unit) if quantity is None else quantity.scaled(value)
    factor = 1.0 if quantity is None else quantity.units[name]
    half = "" if margin is None else f" ± {float(f'{margin / factor:.2g}'):g}"  # 380, not 3.8e+02
    return f"{scaled:.3g}{half} {name}".rstrip()


def _three_digits(value: float) -> str:
    """Whole numbers with commas between thousands, others with three significant digits."""
    whole = isinstance(value, int) or value.is_integer()
    return f"{value:,.0f}" if whole or abs(value) >= 1000 else f"{value:.3g}"


def _annotated(quantity: Quantity, number: Callable[[float], float] = float) -> tuple[Any, ...]:
    units = "|".join(re.escape(unit) for unit in [*quantity.units, *sorted(quantity.spellings.keys() - quantity.units)])
    schema = {"type": "string", "pattern": rf"^\d+(\.\d+)?\s*({units})$", "examples": [quantity.example]}
    return (
        BeforeValidator(lambda written: number(quantity.parse(written))),
        PlainSerializer(quantity.format),
        WithJsonSchema(schema),
    )


Duration = Annotated[float, *_annotated(DURATION)]
Delay = Annotated[float, *_annotated(DELAY)]
Bandwidth = Annotated[float, *_annotated(BANDWIDTH)]
Size = Annotated[int, *_annotated(SIZE, round)]
Power = Annotated[float, *_annotated(POWER)]
Rate = Annotated[float, *_annotated(RATE)]
Share = Annotated[float, *_annotated(SHARE)]
