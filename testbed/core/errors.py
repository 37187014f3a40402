"""What a user can be told: every failure that is not a bug is one of these, and ends with its exit code."""

from dataclasses import dataclass
from pathlib import Path


class TestbedError(Exception):
    """A failure with a sentence for the user; ``exit_code`` is what the process ends with."""

    __test__ = False  # the name begins with "Test": pytest must not collect it
    exit_code = 1


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in what the user wrote: where it stands and what would be right."""

    where: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.message}" if self.line else f"{self.where}: {self.message}"


class SpecError(TestbedError):
    """A file or an option is wrong. Carries every problem that was found, not only the first."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def of(cls, where: str | Path, message: str, line: int = 0) -> "SpecError":
        """An error with a single problem."""
        return cls([Problem(str(where), line, message)])


class HostError(TestbedError):
    """This host cannot run it: what is missing, and the command that mends it."""

    exit_code = 3
