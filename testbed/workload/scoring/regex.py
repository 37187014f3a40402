"""Comparison of the part of an answer that a regular expression finds."""

import re

from pydantic import Field, field_validator

from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer


class Regex(Scorer):
    """1 if what ``pattern`` finds first in the answer is the truth, in capitals or not, else 0."""

    pattern: str = Field(description="a regular expression; its first group is compared, or all of it without a group")

    @field_validator("pattern")
    @classmethod
    def _check(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    def score(self, question: Question, answer: str) -> float | None:
        """1.0 or 0.0; None if the question has no truth. Nothing found is wrong."""
        if not question.truths:
            return None
        found = re.search(self.pattern, answer, re.IGNORECASE)
        said = "" if found is None else (found[1] or "" if found.re.groups else found[0])
        return float(said.lower() in map(str.lower, question.truths))
