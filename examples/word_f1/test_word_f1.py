import pytest
from testbed_word_f1 import WordF1

from testbed.workload.prompts.base import Question


@pytest.mark.parametrize(
    ("truth", "answer", "score"),
    [
        ("the old bridge", "The old bridge.", 1.0),
        ("the old bridge", "the bridge", 0.8),
        ("Rome", "Oslo", 0.0),
        ("Rome", "", 0.0),
        (None, "Rome", None),
    ],
)
def test_the_score_is_the_f1_of_words(truth: str | None, answer: str, score: float | None) -> None:
    assert WordF1(scorer="word-f1").score(Question("?", truth), answer) == score
