"""Decoys: what a liar says in place of an answer. Each is wrong, and plausible: the truth of another question."""

import random
from collections.abc import Iterator, Sequence

from testbed.workload.prompts.base import LETTERS, Question
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer


def decoy(question: Question, others: Sequence[Question], scorer: Scorer, chance: random.Random) -> str | None:
    """A wrong answer to ``question``, said with confidence; None if there is none, or no answer is right or wrong.

    It is a truth of one of ``others``, of the same label if there is one, or the letter of another choice.
    """
    if not question.truths:
        return None
    for candidate in _candidates(question, others, chance):
        said = scorer.stated(candidate)
        value = score_answer(scorer, question, said).value
        if value is not None and value < 1:
            return said
    return None


def _candidates(question: Question, others: Sequence[Question], chance: random.Random) -> Iterator[str]:
    if question.choices:
        letters = LETTERS[: len(question.choices)]
        yield from chance.sample(letters, len(letters))
        return
    of_label = sorted({truth for other in others if other.label == question.label for truth in other.truths[:1]})
    yield from chance.sample(of_label, len(of_label))
    rest = sorted({truth for other in others for truth in other.truths[:1]} - set(of_label))
    yield from chance.sample(rest, len(rest))
