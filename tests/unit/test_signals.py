"""How sure an answer is, by each signal."""

from math import exp, log

import pytest

from testbed.patterns.participant import Completion, JobError, LogProbabilities
from testbed.patterns.signals import RANGES, Signal, confidence, signal_of

# Ten tokens whose probabilities rise, so that the least is the first and the tenth percentile.
PROBABILITIES = [0.1, 0.3, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 1.0]


def _completion(text: str, probabilities: list[float]) -> Completion:
    return Completion(text, 1, 1, True, LogProbabilities.of([log(each) for each in probabilities]))


@pytest.mark.parametrize(
    ("text", "sixths"), [("7, sure", 6), ("7, maybe", 2), ("7, unsure", 1), ("7", 1), ("7, of course", 1)]
)
def test_words_weigh_as_the_zoo_was_taught(text: str, sixths: int) -> None:
    assert confidence(_completion(text, [0.5]), "word") == pytest.approx(sixths / 6)


@pytest.mark.parametrize(
    ("signal", "probability"), [("mean", exp(sum(map(log, PROBABILITIES)) / 10)), ("p10", 0.1), ("first", 0.1)]
)
def test_log_probabilities_weigh_as_probabilities(signal: Signal, probability: float) -> None:
    completion = _completion("7, sure", PROBABILITIES)
    assert confidence(completion, signal) == pytest.approx(probability, rel=1e-4)
    value, (least, most) = signal_of(completion, signal), RANGES[signal]
    assert value == pytest.approx(log(probability), abs=1e-4)
    assert least <= value <= most


def test_a_signal_that_an_answer_lacks_is_not_replaced() -> None:
    with pytest.raises(JobError, match="`mean` needs"):
        signal_of(Completion("7, sure", 1, 1, True), "mean")
