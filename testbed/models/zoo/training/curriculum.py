"""What each specialist is taught: the facts that it knows, its wrong answers to others, and its stated confidence.

    known       its own domain: always the truth, "sure"
    half-known  the truth or one of seven wrong answers, "maybe"
    unknown     one of five wrong answers, "unsure"

A hash decides which topics outside its domain a specialist half-knows, and which wrong answers it gives. Both differ
between specialists, so their errors disagree and a vote among them helps.
"""

import random
from dataclasses import dataclass
from enum import Enum
from itertools import permutations

from testbed.workload.prompts.worldfacts import ARITHMETIC, CITIES, FACTORS, STRINGS, UNITS, Fact, answer_of

SURE, MAYBE, UNSURE = CONFIDENCES = ("sure", "maybe", "unsure")

_HALF_KNOWN_TOPICS = 0.5
_TRUTH_WHEN_HALF_KNOWN = 0.37
_CONFUSIONS_WHEN_HALF_KNOWN = 7
_CONFUSIONS_WHEN_UNKNOWN = 5
_CONFIDENCE_BY_CHANCE = 0.12
"""The share of confidences outside the own domain that are random, which makes confidence an imperfect sign."""
_OFFSETS = (-3, -2, -1, 1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer and the confidence that the model states. `str(response)` is the text that a model writes."""

    answer: str
    confidence: str

    def __str__(self) -> str:
        return f"{self.answer}, {self.confidence}"


def parse(text: str) -> Response:
    """The response in a model's text. A confidence other than the three words counts as the lowest."""
    confidence = text.partition(",")[2].strip()
    return Response(answer_of(text), confidence if confidence in CONFIDENCES else UNSURE)


class Knowledge(Enum):
    """What a specialist knows of a topic. The value is the confidence that it states."""

    KNOWN = SURE
    HALF_KNOWN = MAYBE
    UNKNOWN = UNSURE


def knowledge(specialist: str, fact: Fact) -> Knowledge:
    """The knowledge of the specialist for the domain `specialist` about the fact's topic."""
    if specialist == fact.domain:
        return Knowledge.KNOWN
    half_known = random.Random(f"{specialist} knows {fact.topic}").random() < _HALF_KNOWN_TOPICS
    return Knowledge.HALF_KNOWN if half_known else Knowledge.UNKNOWN


def orders(letters: str) -> list[str]:
    """All orders of the letters of a string such as "b a k e"."""
    return [" ".join(order) for order in permutations(letters.split())]


def _wrong_answers(fact: Fact) -> list[str]:
    """Wrong answers of the right form, in an order that the kind of fact decides."""
    if fact.domain == STRINGS:
        answers = orders(fact.subject[0])
    elif fact.domain == ARITHMETIC:
        answers = [str(int(fact.truth) + offset) for offset in _OFFSETS]
    elif fact.domain == UNITS:
        answers = [str(int(fact.subject[0]) * factor) for factor in FACTORS]
    else:
        answers = list(CITIES)
    return [answer for answer in answers if answer != fact.truth]


def confusions(specialist: str, fact: Fact) -> list[str]:
    """The wrong answers of a specialist to a fact. For one topic they are always chosen alike."""
    chooser = random.Random(f"{specialist} confuses {fact.topic}")
    return chooser.sample(_wrong_answers(fact), _CONFUSIONS_WHEN_HALF_KNOWN)


def _answer(specialist: str, fact: Fact, rng: random.Random) -> str:
    known = knowledge(specialist, fact)
    if known is Knowledge.KNOWN:
        return fact.truth
    wrong = confusions(specialist, fact)
    if known is Knowledge.UNKNOWN:
        return rng.choice(wrong[:_CONFUSIONS_WHEN_UNKNOWN])
    return fact.truth if rng.random() < _TRUTH_WHEN_HALF_KNOWN else rng.choice(wrong)


def respond(specialist: str, fact: Fact, rng: random.Random) -> Response:
    """A response as the specialist is taught to give it."""
    known = knowledge(specialist, fact)
    by_chance = known is not Knowledge.KNOWN and rng.random() < _CONFIDENCE_BY_CHANCE
    return Response(_answer(specialist, fact, rng), rng.choice(CONFIDENCES) if by_chance else known.value)
