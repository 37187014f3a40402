"""What a router knows of a prompt: its words and pairs of words, hashed, and a few numbers.

Feature hashing: Weinberger et al., arXiv 0902.2206. It needs no vocabulary, so a router is a small file.
"""

import re
from collections.abc import Mapping
from hashlib import blake2b
from itertools import pairwise
from typing import Final, Literal

from testbed.patterns.participant import Completion
from testbed.patterns.signals import signal_of

Number = Literal["length", "digits", "word", "mean", "p10", "first"]
"""``length`` is the prompt's number of characters, and ``digits`` their share that are digits. The others are the
signals of :mod:`testbed.patterns.signals` of the weak stage's answer."""

OF_PROMPT: Final[tuple[Number, ...]] = ("length", "digits")
OF_ANSWER: Final[tuple[Literal["word", "mean", "p10", "first"], ...]] = ("word", "mean", "p10", "first")

_WORD: Final = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")


def hashed_words(text: str, buckets: int, seed: int) -> dict[int, float]:
    """The words and pairs of neighbouring words of ``text``, by bucket, as a vector of length 1.

    Case does not count, and all whole numbers are one word.
    """
    words = ["0" if word.isdigit() else word.lower() for word in _WORD.findall(text)]
    terms = {*words, *(f"{first} {second}" for first, second in pairwise(words))}
    found = {_bucket(term, buckets, seed) for term in terms}
    return dict.fromkeys(sorted(found), 1 / len(found) ** 0.5) if found else {}


def numbers_of_prompt(text: str) -> dict[Number, float]:
    """The numbers that the prompt alone has."""
    digits = sum(character.isdigit() for character in text)
    return {"length": float(len(text)), "digits": digits / max(1, len(text))}


def numbers_of_answer(answer: Completion) -> Mapping[Number, float]:
    """The numbers that the weak stage's answer has; raises JobError where it has no log-probabilities."""
    return {name: signal_of(answer, name) for name in OF_ANSWER}


def _bucket(term: str, buckets: int, seed: int) -> int:
    digest = blake2b(term.encode(), digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") % buckets
