"""The verdict on a run: the exit status of the process, and what people are told."""

from collections.abc import Mapping
from typing import Final, Literal

Verdict = Literal["passed", "failed", "invalid", "interrupted"]

EXIT_CODES: Final[Mapping[Verdict, int]] = {"passed": 0, "failed": 1, "invalid": 4, "interrupted": 130}


def outcome(verdict: str, judged: bool) -> str:
    """The verdict for people. A run of which nothing was expected, so not ``judged``, has not passed, but finished."""
    return "finished, nothing expected" if verdict == "passed" and not judged else verdict
