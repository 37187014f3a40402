"""Signals of how sure a model is of its answer: what it says, or what its log-probabilities were."""

import math
from collections.abc import Mapping
from typing import Final, Literal

from testbed.patterns.participant import Completion, JobError

Signal = Literal["word", "mean", "p10", "first"]
"""``word`` is the confidence that the answer states, "Kabuburg, sure"; :data:`WORDS` has its values. The others are
log-probabilities: their mean over the answer's tokens, their tenth percentile, and that of the first token."""

WORDS: Final[Mapping[str, float]] = {"sure": 1.0, "maybe": 1 / 3, "unsure": 1 / 6}
"""In the ratio 6 : 2 : 1 in which the zoo's models were taught to weigh them."""

RANGES: Final[Mapping[Signal, tuple[float, float]]] = {
    "word": (0.0, 1.0),
    "mean": (-math.inf, 0.0),
    "p10": (-math.inf, 0.0),
    "first": (-math.inf, 0.0),
}
"""The least and the largest value of each signal."""


def signal_of(completion: Completion, signal: Signal) -> float:
    """The value of ``signal``; raises JobError if the completion has no log-probabilities where it needs them.

    Without one of the three words after the comma, ``word`` has the value of ``unsure``.
    """
    if signal == "word":
        return WORDS.get(completion.text.partition(",")[2].strip(), WORDS["unsure"])
    logprobs = completion.logprobs
    if logprobs is None:
        raise JobError(f"the answer {completion.text!r} has no log-probabilities, which the signal `{signal}` needs")
    return {"mean": logprobs.mean, "p10": logprobs.tenth_percentile, "first": logprobs.first}[signal]


def confidence(completion: Completion, signal: Signal) -> float:
    """The weight of an answer, from 0 to 1: the value of ``word``, or the probability that a logarithm stands for."""
    value = signal_of(completion, signal)
    return value if signal == "word" else math.exp(value)
