"""Answers of a simulation, each drawn again from recorded ones.

For every prompt, one recorded question stands in: the same one if it was recorded, else any. Calls that read the
question alone get what models said to it, so that several models are right and wrong together as they were. Calls that
read responses get what came of as many responses of which as many were right. A right answer becomes the truth of the
prompt's own question, in the words of the recorded answer. A wrong one stays as it was.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from testbed.analysis.events import Event
from testbed.patterns.participant import Completion, LogProbabilities
from testbed.simulation.calibration import Case, Kind, unknown
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer

_Known = TypeVar("_Known")
_Judged = tuple[Case, bool]


class Outcomes:
    """Draws completions from recorded ``cases``, which ``scorer`` judges."""

    def __init__(self, cases: Mapping[Kind, Sequence[Case]], scorer: Scorer, generator: random.Random) -> None:
        self._scorer = scorer
        self._generator = generator
        self._to_question: defaultdict[tuple[Kind, str], list[_Judged]] = defaultdict(list)
        self._of_responses: defaultdict[Kind, defaultdict[int, list[_Judged]]] = defaultdict(lambda: defaultdict(list))
        questions: dict[str, None] = {}
        for kind, known in cases.items():
            for case in known:
                question = question_of(case.question)
                questions[question.text] = None
                judged = case, self._right(question, case.text)
                self._to_question[kind, question.text].append(judged)
                self._of_responses[kind][self._count(question, case.read)].append(judged)
        self._questions = list(questions)
        self._known = questions.keys()

    def stand_in(self, question: Question) -> str:
        """The text of the recorded question that stands in for ``question``."""
        return question.text if question.text in self._known else self._choose(self._questions)

    def draw(self, kind: Kind, question: Question, stand_in: str, read: Sequence[str]) -> Completion:
        """A completion of the kind; raises SpecError if there is none."""
        if not read and (found := self._to_question.get((kind, stand_in))):
            return _as_answer(*self._choose(found), question)
        if not (counts := self._of_responses.get(kind)):
            raise unknown(str(kind))
        right = self._count(question, read)
        nearest = min(counts, key=lambda count: (abs(count - right), count))
        return _as_answer(*self._choose(counts[nearest]), question)

    def _count(self, question: Question, texts: Sequence[str]) -> int:
        """How many of the answers ``texts`` are right."""
        return sum(self._right(question, text) for text in texts)

    def _right(self, question: Question, text: str) -> bool:
        return (score_answer(self._scorer, question, text).value or 0.0) >= 0.5

    def _choose(self, known: Sequence[_Known]) -> _Known:
        return known[int(self._generator.random() * len(known))]


def question_of(event: Event) -> Question:
    """The question that an event ``prompt`` recorded."""
    accepted, choices = (tuple(event.get(name, ())) for name in ("accepted", "choices"))
    return Question(event["text"], event.get("truth"), event.get("label", ""), accepted, choices=choices)


def _as_answer(case: Case, right: bool, question: Question) -> Completion:
    """What ``case`` recorded, as an answer to ``question``."""
    text, truth, logprobs = case.text, case.question.get("truth"), case.logprobs
    if right and question.truth is not None and question.truth != truth:
        text = text.replace(truth, question.truth) if truth and truth in text else question.truth
    known = None if logprobs is None else LogProbabilities(**logprobs)
    return Completion(text, case.prompt_tokens, case.tokens, case.stopped, known)
