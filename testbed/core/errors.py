"""Failures that are no bugs. Each has one sentence for the user and an exit code."""

from dataclasses import dataclass
from pathlib import Path


class TestbedError(Exception):
    """A failure with a sentence for the user. ``exit_code`` is the exit status of the process."""

    __test__ = False  # the name begins with "Test": pytest must not collect it
    exit_code = 1


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake of the user's: the file or option, the line (0 if unknown), and what would be right."""

    where: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.message}" if self.line else f"{self.where}: {self.message}"


class SpecError(TestbedError):
    """A file or an option is wrong. ``problems`` has every mistake that was found, in order."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def of(cls, where: str | Path, message: str, line: int = 0) -> "SpecError":
        """The error for a single mistake."""
        return cls([Problem(str(where), line, message)])


class HostError(TestbedError):
    """This host cannot run the scenario. The sentence names what is missing and the command that installs it."""

    exit_code = 3
