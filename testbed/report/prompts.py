"""Every prompt with what came of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from testbed.results.latency import Split
from testbed.results.metrics import Measurements
from testbed.workload.worldfacts import is_correct

Outcome = Literal["right", "wrong", "no answer"]


@dataclass(frozen=True)
class PromptRow:
    """One prompt. ``answer`` is the reason where it has none, ``split`` None where it has no latency."""

    name: str
    at: float
    owner: str
    text: str
    answer: str
    truth: str
    outcome: Outcome
    split: Split | None


def prompt_rows(measured: Measurements, splits: Mapping[str, Split]) -> Iterator[PromptRow]:
    """In the order in which they were handed over."""
    for prompt, event in measured.prompts.items():
        answer = measured.answers.get(prompt)
        outcome: Outcome = "no answer"
        if answer is not None:
            outcome = "right" if is_correct(answer["text"], event["truth"]) else "wrong"
        said = measured.failures.get(prompt, "play ended before") if answer is None else answer["text"]
        yield PromptRow(
            prompt, event["t"], event["owner"], event["text"], said, event["truth"], outcome, splits.get(prompt)
        )
