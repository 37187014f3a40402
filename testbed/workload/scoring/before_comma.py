"""Comparison of the part of an answer before its first comma."""

from typing import ClassVar

from testbed.core.normalisation import Normalisation
from testbed.workload.scoring.base import Comparison


class BeforeComma(Comparison):
    """1 if the part of the answer before its first comma is the truth, letter for letter, else 0.

    The zoo's models write their confidence behind the comma: "Kabuburg, sure".
    """

    normalisation: ClassVar[Normalisation] = "before-comma"

    def stated(self, answer: str) -> str:
        """``answer`` with the zoo's word for confidence."""
        return f"{answer}, sure"
