"""Panels of answers that the specialists gave during training, including malformed ones."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from testbed.models.zoo.training.curriculum import parse
from testbed.models.zoo.training.panels import Panel
from testbed.workload.prompts.worldfacts import DOMAINS, AskedFact, Subset, draw

SAMPLING_TEMPERATURE = 0.7
_QUESTIONS = 6000


def recorded_questions() -> list[AskedFact]:
    """The training questions that every specialist is asked, in a fixed order."""
    rng = random.Random("questions for recorded panels")
    return [draw(rng.choice(DOMAINS), Subset.TRAIN, rng) for _ in range(_QUESTIONS)]


class RecordedPanels:
    """A `PanelSource` of recorded answers: the aggregator's and those of one to three other specialists."""

    def __init__(self, answers: Mapping[str, Sequence[str]]) -> None:
        """`answers` has each specialist's answers to `recorded_questions()`, in that order."""
        self._answers = answers
        self._questions = recorded_questions()
        self._of_domain: dict[str, list[int]] = defaultdict(list)
        for index, asked in enumerate(self._questions):
            self._of_domain[asked.fact.domain].append(index)

    def __call__(self, aggregator: str, domain: str, rng: random.Random) -> Panel:
        index = rng.choice(self._of_domain[domain])
        others = [specialist for specialist in DOMAINS if specialist != aggregator]
        panel = [aggregator, *rng.sample(others, rng.randint(1, len(others)))]
        return Panel(self._questions[index], [parse(self._answers[specialist][index]) for specialist in panel])
