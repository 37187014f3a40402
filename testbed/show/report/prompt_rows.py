"""The table of prompts with their answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from testbed.analysis.latency.breakdown import Breakdown
from testbed.analysis.measurements import Measurements
from testbed.show.report.ways import WayStep, ways


@dataclass(frozen=True)
class PromptRow:
    """One prompt. Without an answer, ``answer`` is the reason; without a latency, ``spent`` is None."""

    name: str
    at: float
    owner: str
    text: str
    answer: str
    truth: str | None
    outcome: str
    spent: Breakdown | None
    way: Sequence[WayStep] = ()


def prompt_rows(measured: Measurements, spent: Mapping[str, Breakdown]) -> Iterator[PromptRow]:
    """A row for each prompt, in the order in which they were handed over."""
    steps = ways(measured)
    for prompt, event in measured.prompts.items():
        answer = measured.answers.get(prompt)
        said = measured.failures.get(prompt, "play ended before") if answer is None else answer["text"]
        outcome = _outcome(measured, prompt)
        yield PromptRow(
            prompt,
            event["t"],
            event["owner"],
            event["text"],
            said,
            event["truth"],
            outcome,
            spent.get(prompt),
            steps.get(prompt, ()),
        )


def _outcome(measured: Measurements, prompt: str) -> str:
    if prompt not in measured.answers:
        return "no answer"
    match measured.scores.get(prompt):
        case None:
            return "not judged"
        case 1:
            return "right"
        case 0:
            return "wrong"
        case score:
            return f"{score:.2f}"
