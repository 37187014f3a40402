"""Normal forms of answers: two answers say the same if their normal forms are equal.

Scorers compare an answer with the truth in a normal form; patterns that count equal answers use the scorer's.
"""

import re
import string
from collections.abc import Callable, Mapping
from typing import Final, Literal

Normalisation = Literal["before-comma", "words", "number", "choice"]

_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_NUMBER: Final = re.compile(r"(?<![\w.])([-−]?)[$€£]?((?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?)(\.\d+)?(?<=\d)")
_ANNOUNCED: Final = re.compile(r"\banswer\s*(?:is\b)?\W*\b([A-Za-z])\b(?!['’]|\s+[a-z])", re.IGNORECASE)
_LABEL: Final = re.compile(r"\W*([A-Za-z])\s*(?:[).:,]|$)", re.MULTILINE)
_BRACKETED: Final = re.compile(r"\(([A-Z])\)")


def normalised(answer: str, normalisation: Normalisation) -> str:
    """The normal form of ``answer``; empty where it has none, as an answer without digits has none as a number."""
    return _NORMAL_FORMS[normalisation](answer)


def before_comma(answer: str) -> str:
    """The part before the first comma, without white space around it: "Kabuburg" of "Kabuburg, sure"."""
    return answer.partition(",")[0].strip()


def words(answer: str) -> str:
    """Lower case without punctuation and articles, words one space apart, as SQuAD's evaluation compares answers.

    Rajpurkar et al., arXiv 1606.05250.
    """
    lower = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", lower).split())


def number(answer: str) -> str:
    """The last number, without thousands' commas and trailing zeros: "1200.5" of "It is $1,200.50."; else empty."""
    found = list(_NUMBER.finditer(answer))
    return _plain(*found[-1].groups(default="")) if found else ""


def choice(answer: str) -> str:
    """The letter of a choice, as a capital; else empty.

    It is the last that is called the answer ("the answer is B"), else that before the answer's text ("B) Rome"), else
    the first in brackets.
    """
    if announced := list(_ANNOUNCED.finditer(answer)):
        return announced[-1][1].upper()
    found = _LABEL.match(answer) or _BRACKETED.search(answer)
    return found[1].upper() if found else ""


def _plain(sign: str, whole: str, fraction: str) -> str:
    digits = (whole.replace(",", "").lstrip("0") or "0") + fraction.rstrip("0").rstrip(".")
    return f"-{digits}" if sign and digits != "0" else digits


_NORMAL_FORMS: Final[Mapping[Normalisation, Callable[[str], str]]] = {
    "before-comma": before_comma,
    "words": words,
    "number": number,
    "choice": choice,
}
