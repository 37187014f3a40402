"""Comparison of numbers."""

from typing import ClassVar

from testbed.core.normalisation import Normalisation
from testbed.workload.scoring.base import Comparison


class Number(Comparison):
    """1 if the last number of the answer has the value of the truth, else 0."""

    normalisation: ClassVar[Normalisation] = "number"
    noun: ClassVar[str] = "number"
