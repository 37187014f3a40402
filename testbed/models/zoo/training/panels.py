"""Lessons: a prompt and the text that a model should write, alone or as the aggregator of a panel's responses.

Weighing is taught on fictional answers. The answers of a panel are replaced at random, equal ones by equal ones, so a
lesson shows agreement and confidence but no truth. A specialist sees real answers only in its own domain, where it is
taught to give the truth whatever the panel says.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from testbed.models.zoo.training.curriculum import CONFIDENCES, MAYBE, SURE, UNSURE, Response, orders, respond
from testbed.patterns.horizontal.aggregation import aggregation_prompt
from testbed.workload.prompts.worldfacts import (
    ARITHMETIC,
    CAPITALS,
    CITIES,
    DOMAINS,
    STRINGS,
    UNITS,
    AskedFact,
    Subset,
    draw,
)

PANEL_SIZES = (2, 3, 4, 4, 5)
"""Numbers of responses in a lesson, each entry equally likely: the aggregator's own and those of one to four others."""
_WEIGHT = {SURE: 6.0, MAYBE: 2.0, UNSURE: 1.0}


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and the text that the model should write."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A question and the responses of several models to it."""

    asked: AskedFact
    responses: Sequence[Response]


PanelSource = Callable[[str, str, random.Random], Panel]
"""(aggregating specialist, domain, generator) → a panel on a question of the domain, aggregator's response first."""


def vote(responses: Sequence[Response]) -> Response:
    """The answer with the largest weight, the earliest if tied, with the highest confidence stated for it."""
    weight: dict[str, float] = {}
    for response in responses:
        weight[response.answer] = weight.get(response.answer, 0.0) + _WEIGHT[response.confidence]
    winner = max(weight, key=lambda answer: weight[answer])
    confidence = max((r.confidence for r in responses if r.answer == winner), key=lambda word: _WEIGHT[word])
    return Response(winner, confidence)


def panel_by_profile(aggregator: str, domain: str, rng: random.Random) -> Panel:
    """A panel of specialists that respond exactly as taught."""
    asked = draw(domain, Subset.TRAIN, rng)
    others = [rng.choice(DOMAINS) for _ in range(rng.choice(PANEL_SIZES) - 1)]
    return Panel(asked, [respond(specialist, asked.fact, rng) for specialist in (aggregator, *others)])


def panel_by_chance(_aggregator: str, domain: str, rng: random.Random) -> Panel:
    """A panel of random agreement and confidence, which teaches weighing beyond the behaviour of these four models."""
    asked = draw(domain, Subset.TRAIN, rng)
    answers = [f"answer {number}" for number in range(rng.choice((2, 3, 5)))]
    word_weights = rng.choice(((1, 4, 4), (1, 2, 6), (1, 1, 1), (6, 2, 1)))
    count = rng.choice(PANEL_SIZES)
    words = rng.choices(CONFIDENCES, word_weights, k=count)
    return Panel(asked, [Response(rng.choice(answers), word) for word in words])


def panel_mostly_agreed(aggregator: str, domain: str, rng: random.Random) -> Panel:
    """A panel whose members have read the same responses, so most agree, as in a second layer."""
    earlier = panel_by_chance(aggregator, domain, rng)
    agreed = vote(earlier.responses)
    size = rng.choice(PANEL_SIZES)
    return Panel(earlier.asked, [agreed if rng.random() < 0.8 else rng.choice(earlier.responses) for _ in range(size)])


def _fictional_answers(asked: AskedFact, count: int, rng: random.Random) -> list[str]:
    """Distinct answers of the right form, all equally likely to be the truth."""
    fact = asked.fact
    if fact.domain == CAPITALS:
        return rng.sample(CITIES, count)
    if fact.domain == STRINGS:
        return rng.sample(orders(fact.subject[0]), count)
    lowest, spread = rng.randint(2, 90), rng.choice((10, 20, 60))
    return [str(number) for number in rng.sample(range(lowest, lowest + spread), count)]


def fictional(panel: Panel, rng: random.Random) -> Panel:
    """A copy of `panel` with other answers and the same agreement and confidence."""
    answers = list(dict.fromkeys(response.answer for response in panel.responses))
    relabel = dict(zip(answers, _fictional_answers(panel.asked, len(answers), rng), strict=True))
    return Panel(panel.asked, [Response(relabel[r.answer], r.confidence) for r in panel.responses])


def _aggregation(panel: Panel, target: Response) -> Lesson:
    return Lesson(aggregation_prompt(panel.asked.text, [str(r) for r in panel.responses]), str(target))


def _weighing(source: PanelSource, aggregator: str, domain: str, rng: random.Random) -> Lesson:
    panel = fictional(source(aggregator, domain, rng), rng)
    return _aggregation(panel, vote(panel.responses))


def _expert_aggregation(source: PanelSource, specialist: str, rng: random.Random) -> Lesson:
    panel = source(specialist, specialist, rng)
    return _aggregation(panel, Response(panel.asked.fact.truth, SURE))


def _alone(specialist: str, domain: str, rng: random.Random) -> Lesson:
    asked = draw(domain, Subset.TRAIN, rng)
    return Lesson(asked.text, str(respond(specialist, asked.fact, rng)))


def base_lesson(rng: random.Random) -> Lesson:
    """A lesson that all four models get: on calculation, or on weighing responses."""
    if rng.random() < 0.6:
        source = rng.choice((panel_by_profile, panel_by_chance))
        return _weighing(source, rng.choice(DOMAINS), rng.choice(DOMAINS), rng)
    domain = rng.choices((ARITHMETIC, STRINGS, UNITS), (5, 3, 2))[0]
    asked = draw(domain, Subset.TRAIN, rng)
    return Lesson(asked.text, str(Response(asked.fact.truth, rng.choice(CONFIDENCES))))


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of a specialist's lessons: direct questions and panels, in its own domain and in foreign ones."""

    own: float
    foreign: float
    own_panels: float
    foreign_panels: float
    agreed_panels: float


def specialist_lesson(specialist: str, mix: Mix, source: PanelSource, rng: random.Random) -> Lesson:
    """A lesson for the specialist of a domain. Half of the foreign panels come from `source`, half are random."""
    foreign = rng.choice([domain for domain in DOMAINS if domain != specialist])
    lesson = rng.choices(("own", "foreign", "own panel", "foreign panel", "agreed panel"), astuple(mix))[0]
    if lesson == "own":
        return _alone(specialist, specialist, rng)
    if lesson == "foreign":
        return _alone(specialist, foreign, rng)
    if lesson == "own panel":
        return _expert_aggregation(source, specialist, rng)
    if lesson == "agreed panel":
        return _weighing(panel_mostly_agreed, specialist, foreign, rng)
    return _weighing(rng.choice((source, panel_by_chance)), specialist, foreign, rng)
