"""What each specialist is taught: what it knows, what it takes for true instead, and how sure it says it is.

    known       its own domain: always the truth, "sure"
    half-known  the truth among seven confusions, "maybe"
    unknown     five confusions, the truth never among them, "unsure"

Which topics outside its own domain a specialist half-knows, and what it confuses them with, is fixed by a hash and
differs between specialists. That is what makes asking several of them worth while: their errors do not agree.
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
"""How often a confidence outside the own domain is drawn by chance: it is a good sign of the truth, not a sure one."""
_OFFSETS = (-3, -2, -1, 1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer and how sure the model says it is; what a model of the zoo writes is `str(response)`."""

    answer: str
    confidence: str

    def __str__(self) -> str:
        return f"{self.answer}, {self.confidence}"


def parse(text: str) -> Response:
    """The response in what a model wrote; a confidence that is none of the three words counts as the lowest."""
    confidence = text.partition(",")[2].strip()
    return Response(answer_of(text), confidence if confidence in CONFIDENCES else UNSURE)


class Knowledge(Enum):
    KNOWN = SURE
    HALF_KNOWN = MAYBE
    UNKNOWN = UNSURE


def knowledge(specialist: str, fact: Fact) -> Knowledge:
    """What the specialist for the domain `specialist` knows of the fact's topic."""
    if specialist == fact.domain:
        return Knowledge.KNOWN
    half_known = random.Random(f"{specialist} knows {fact.topic}").random() < _HALF_KNOWN_TOPICS
    return Knowledge.HALF_KNOWN if half_known else Knowledge.UNKNOWN


def orders(letters: str) -> list[str]:
    """All orders of the letters of a string such as "b a k e"."""
    return [" ".join(order) for order in permutations(letters.split())]


def _wrong_answers(fact: Fact) -> list[str]:
    """Answers of the right form, always in the same order for the same kind of fact."""
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
    """The wrong answers that a specialist gives, chosen once for each topic: cities, offsets, orders or factors."""
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
    """One response as the specialist is taught to give it, drawn from what it knows."""
    known = knowledge(specialist, fact)
    by_chance = known is not Knowledge.KNOWN and rng.random() < _CONFIDENCE_BY_CHANCE
    return Response(_answer(specialist, fact, rng), rng.choice(CONFIDENCES) if by_chance else known.value)
