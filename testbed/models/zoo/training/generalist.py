"""What the generalist is taught: the truth in all four domains, in answer to direct questions.

It gets no panels and no wrong answers: it is the strong model of experiments in which small models ask a large one.
"""

import random

from testbed.models.zoo.training.curriculum import SURE, Response
from testbed.models.zoo.training.panels import Lesson
from testbed.models.zoo.training.steps import TrainingStage
from testbed.models.zoo.training.transformer import Sizes
from testbed.workload.prompts.worldfacts import DOMAINS, Subset, draw

STAGE = TrainingStage("omega-learned", 900, batch_tokens=2048)
"""Batches are half as large as the specialists': there are more steps for the same questions."""

_SHARES = (2, 3, 3, 2)
"""Of the domains in their order. Strings and arithmetic take longer to learn."""


def sizes(vocabulary: int) -> Sizes:
    """Three times the parameters of a specialist."""
    return Sizes(vocabulary, width=384, layers=5, heads=12, feed_forward=736)


def generalist_lesson(rng: random.Random) -> Lesson:
    """A training question and its truth."""
    asked = draw(rng.choices(DOMAINS, _SHARES)[0], Subset.TRAIN, rng)
    return Lesson(asked.text, str(Response(asked.fact.truth, SURE)))
