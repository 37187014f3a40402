"""The prompt by which a model reads the responses of several."""

from collections.abc import Sequence
from typing import Final

INSTRUCTION: Final = "Weigh these responses, some of which may be wrong, and give the best answer."
"""The zoo's models were trained on these words. Other words need newly trained models."""


def aggregation_prompt(question: str, responses: Sequence[str]) -> str:
    """The question, the responses numbered from 1, and what to do with them."""
    numbered = "\n".join(f"Response-{number}: {response}" for number, response in enumerate(responses, 1))
    return f"{question}\n{numbered}\n{INSTRUCTION}"
