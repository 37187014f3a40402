"""Questions about an invented world, each with one right answer.

    fact      the capital of Kabuland, 7 times 8, "b a k e" reversed, 3 dumeks in fopis
    wording   a template that asks for a fact, after one of a few lead-ins
    subset    training or held-out; a fact in one wording is in exactly one of the two

Capitals, sums, products and units are finite tables. Their held-out questions ask for facts of the training subset in
wordings that it lacks for them. Letter strings are too many to memorize, so whole strings are held out.

The world is fixed. A seed decides only which questions are asked.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from testbed.workload.prompts.base import PromptSource, Question

CAPITALS, ARITHMETIC, STRINGS, UNITS = DOMAINS = ("capitals", "arithmetic", "strings", "units")


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact. `subject` fills the wordings of its kind. A model knows all facts of a `topic` or none."""

    domain: str
    kind: str
    topic: str
    subject: tuple[str, ...]
    truth: str


@dataclass(frozen=True, slots=True)
class AskedFact:
    """A fact in one wording."""

    fact: Fact
    text: str

    @property
    def question(self) -> Question:
        """The question with its truth, labelled with its domain."""
        return Question(self.text, self.fact.truth, label=self.fact.domain)


class Subset(Enum):
    """The use of a question: to train the zoo, or to test it."""

    TRAIN = "train"
    HELD_OUT = "held-out"


LEAD_INS = ("", "Please answer: ", "Quick question: ", "Think it over: ")
WORDINGS = {
    "capital": (
        "What is the capital of {0}?",
        "Which city is the capital of {0}?",
        "Name the capital city of {0}.",
        "The capital of {0} is called what?",
        "In which city does the government of {0} sit?",
        "{0} is governed from which city?",
    ),
    "plus": (
        "What is {0} plus {1}?",
        "Compute {0} + {1}.",
        "Add {1} to {0}.",
        "{0} plus {1} is what?",
        "What is the sum of {0} and {1}?",
        "How much is {0} + {1}?",
    ),
    "times": (
        "What is {0} times {1}?",
        "Compute {0} * {1}.",
        "Multiply {0} by {1}.",
        "{0} times {1} is what?",
        "What is the product of {0} and {1}?",
        "How much is {0} * {1}?",
    ),
    "reverse": (
        "Reverse {0}.",
        "Write {0} backwards.",
        "What is {0} in reverse order?",
        "Spell {0} from the end.",
    ),
    "rotate": (
        "Rotate {0} by one letter.",
        "Move the first letter of {0} to the end.",
        "Put the first letter of {0} last.",
        "What is {0} after one turn to the left?",
    ),
    "convert": (
        "How many {2} are {0} {1}?",
        "Convert {0} {1} to {2}.",
        "What is {0} {1} in {2}?",
        "Name the {2} in {0} {1}.",
        "{0} {1} make how many {2}?",
        "How many {2} make {0} {1}?",
    ),
}

LETTERS = tuple("abdegiklmnoprstu")
_STRING_LENGTH = 4
_HELD_OUT_WORDINGS = 0.25
_HELD_OUT_STRINGS = 0.1


def _invented_names(endings: tuple[str, ...]) -> Iterator[str]:
    """Names such as "Kabuland", infinitely many. No two begin with the same four letters."""
    rng = random.Random(f"names in {' '.join(endings)}")
    seen: set[str] = set()
    while True:
        stem = "".join(rng.choice(letters) for letters in ("bdfgklmnprstvz", "aeiou") * 2)
        if stem not in seen:
            seen.add(stem)
            yield stem.capitalize() + rng.choice(endings)


def _first(count: int, names: Iterator[str]) -> tuple[str, ...]:
    return tuple(next(names) for _ in range(count))


COUNTRIES = _first(60, _invented_names(("land", "ria", "nia", "stan")))
CITIES = _first(60, _invented_names(("burg", "polis", "ton", "port")))
CAPITAL_OF = dict(zip(COUNTRIES, CITIES, strict=True))
FACTORS = range(2, 10)
"""The number of small units in a large one, for each pair of units."""
_UNIT_NAMES = tuple(name.lower() for name in _first(2 * len(FACTORS), _invented_names(("ks", "ms", "ps", "xes"))))
UNIT_PAIRS = tuple(zip(_UNIT_NAMES[::2], _UNIT_NAMES[1::2], FACTORS, strict=True))
"""Triples of large unit, small unit, and the number of small units in a large one."""


def _capital(rng: random.Random) -> Fact:
    country = rng.choice(COUNTRIES)
    return Fact(CAPITALS, "capital", country, (country,), CAPITAL_OF[country])


def _arithmetic(rng: random.Random) -> Fact:
    kind = rng.choice(("plus", "times"))
    left, right = rng.randint(2, 12), rng.randint(2, 9)
    truth = left + right if kind == "plus" else left * right
    return Fact(ARITHMETIC, kind, f"{kind} {right}", (str(left), str(right)), str(truth))


def _string(rng: random.Random) -> Fact:
    kind = rng.choice(("reverse", "rotate"))
    letters = rng.sample(LETTERS, _STRING_LENGTH)
    truth = letters[::-1] if kind == "reverse" else letters[1:] + letters[:1]
    return Fact(STRINGS, kind, f"{kind} {letters[0]}", (" ".join(letters),), " ".join(truth))


def _conversion(rng: random.Random) -> Fact:
    large, small, factor = rng.choice(UNIT_PAIRS)
    amount = rng.randint(2, 12)
    return Fact(UNITS, "convert", large, (str(amount), large, small), str(amount * factor))


_DRAW_FACT = {CAPITALS: _capital, ARITHMETIC: _arithmetic, STRINGS: _string, UNITS: _conversion}


def _subset_of(fact: Fact, text: str) -> Subset:
    """The subset of a question, decided by a hash of the question alone."""
    if fact.domain == STRINGS:
        held_out = random.Random(fact.subject[0]).random() < _HELD_OUT_STRINGS
    else:
        held_out = random.Random(text).random() < _HELD_OUT_WORDINGS
    return Subset.HELD_OUT if held_out else Subset.TRAIN


def draw(domain: str, subset: Subset, rng: random.Random) -> AskedFact:
    """A random fact of `domain` in a random wording that belongs to `subset`."""
    while True:
        fact = _DRAW_FACT[domain](rng)
        text = rng.choice(LEAD_INS) + rng.choice(WORDINGS[fact.kind]).format(*fact.subject)
        if _subset_of(fact, text) is subset:
            return AskedFact(fact, text)


def held_out(count: int, seed: int) -> list[Question]:
    """`count` held-out questions, in equal shares of the four domains, shuffled."""
    rng = random.Random(f"worldfacts held-out {seed}")
    domains = [DOMAINS[index % len(DOMAINS)] for index in range(count)]
    rng.shuffle(domains)
    return [draw(domain, Subset.HELD_OUT, rng).question for domain in domains]


def answer_of(response: str) -> str:
    """The part of a response before the first comma: "Kabuburg" of "Kabuburg, sure"."""
    return response.partition(",")[0].strip()


def is_correct(answer: str, truth: str) -> bool:
    """Whether the part of `answer` before the first comma equals `truth`."""
    return answer_of(answer) == truth


class Worldfacts(PromptSource):
    """Questions about an invented world that the zoo was not trained on, in equal shares of four domains."""

    @property
    def scored_by(self) -> str:
        """``before-comma``: the zoo's models write their confidence behind the comma."""
        return "before-comma"

    def meaningless_for(self, model: str) -> str | None:
        """Only the zoo has learned the invented world; a file may hold a model that has, too."""
        if model.startswith(("zoo/", "path:")):
            return None
        return f"{model} has not learned the invented world of worldfacts"

    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """``count`` held-out questions, labelled with their domains."""
        return held_out(count, seed)
