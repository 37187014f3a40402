"""The exit status of the process by the verdict on a run."""

from collections.abc import Mapping
from typing import Final, Literal

Verdict = Literal["passed", "failed", "invalid", "interrupted"]

EXIT_CODES: Final[Mapping[Verdict, int]] = {"passed": 0, "failed": 1, "invalid": 4, "interrupted": 130}
