"""Comparison as in SQuAD's evaluation."""

from typing import ClassVar

from testbed.workload.scoring.base import Comparison


class Exact(Comparison):
    """1 if the answer is the truth but for case, punctuation, articles and white space, as in SQuAD, else 0."""

    version: ClassVar[str] = "2"
