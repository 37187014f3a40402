"""Every prompt with what came of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from testbed.analysis.latency import Split
from testbed.analysis.metrics import Measurements

Outcome = Literal["right", "wrong", "not judged", "no answer"]


@dataclass(frozen=True)
class PromptRow:
    """One prompt. ``answer`` is the reason where it has none, ``truth`` None where nobody knows it, and ``split`` None
    where it has no latency."""

    name: str
    at: float
    owner: str
    text: str
    answer: str
    truth: str | None
    outcome: Outcome
    split: Split | None


def prompt_rows(measured: Measurements, splits: Mapping[str, Split]) -> Iterator[PromptRow]:
    """In the order in which they were handed over."""
    for prompt, event in measured.prompts.items():
        answer = measured.answers.get(prompt)
        said = measured.failures.get(prompt, "play ended before") if answer is None else answer["text"]
        outcome = _outcome(measured, prompt)
        yield PromptRow(
            prompt, event["t"], event["owner"], event["text"], said, event["truth"], outcome, splits.get(prompt)
        )


def _outcome(measured: Measurements, prompt: str) -> Outcome:
    if prompt not in measured.answers:
        return "no answer"
    if prompt not in measured.right:
        return "not judged"
    return "right" if measured.right[prompt] else "wrong"
