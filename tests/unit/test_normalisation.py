"""Normal forms of answers: what says the same has one form."""

import random
from fractions import Fraction

import pytest

from testbed.core.normalisation import Normalisation, normalised


@pytest.mark.parametrize(
    ("normalisation", "answer", "form"),
    [
        ("before-comma", " Rome , maybe, or Oslo", "Rome"),
        ("before-comma", "Rome.", "Rome."),
        ("words", "  The Old\nBridge. ", "old bridge"),
        ("words", "an apple a day", "apple day"),
        ("words", "U.S.A.", "usa"),
        ("words", "...", ""),
        ("number", "It is $1,200.50.", "1200.5"),
        ("number", "7-3=4", "4"),
        ("number", "between 10-12", "12"),
        ("number", "−7", "-7"),
        ("number", "-0.00", "0"),
        ("number", ".5", "0.5"),
        ("number", "v1.2 of x3", ""),
        ("number", "none", ""),
        ("number", "9" * 5000, "9" * 5000),
        ("choice", "b", "B"),
        ("choice", "(C) Rome", "C"),
        ("choice", "D. because", "D"),
        ("choice", "A dog", ""),
        ("choice", "Either A or (B)", "B"),
        ("choice", "Answer: A. No, the answer is c", "C"),
        ("choice", "**Answer:** B", "B"),
        ("choice", "The answer is a dog", ""),
        ("choice", "I'd say", ""),
    ],
)
def test_the_form_of_an_answer(normalisation: Normalisation, answer: str, form: str) -> None:
    assert normalised(answer, normalisation) == form


def test_numbers_of_one_value_have_one_form() -> None:
    generator = random.Random(5)
    for _ in range(500):
        value = Fraction(generator.randint(-(10**7), 10**7), 10 ** generator.randint(0, 4))
        written = generator.choice((f"{float(value):.4f}", f"{float(value):,.4f}", f"so {float(value):.6f}!"))
        assert Fraction(normalised(written, "number")) == value
        assert normalised(normalised(written, "number"), "number") == normalised(written, "number")
