"""Prompts of runs that a weak and a strong stage both answered, under ``policy: all``."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.analysis.events import Event
from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import RunFiles, run_directories, whole_run
from testbed.core.errors import SpecError
from testbed.patterns.participant import Completion, JobError, LogProbabilities
from testbed.patterns.vertical.routers.features import numbers_of_answer


@dataclass(frozen=True)
class Example:
    """A prompt, what the weak stage answered, and how right the weak and the strong stage were, from 0 to 1."""

    text: str
    answer: Completion
    weak: float
    strong: float

    @property
    def gain(self) -> bool:
        """Whether the strong stage alone was right."""
        return self.strong > self.weak


def examples(runs: Iterable[Path]) -> list[Example]:
    """The examples in run directories, each prompt text once; raises SpecError where a directory has none."""
    found: dict[str, Example] = {}
    for given in runs:
        here = [example for directory in run_directories(given) for example in _of_run(directory)]
        if not here:
            raise SpecError.of(
                given,
                "has no prompt that two stages answered and the scorer judged; run the scenario of a route or cascade "
                "with two stages and --set pattern.policy=all",
            )
        found |= {example.text: example for example in here}
    return list(found.values())


@dataclass(frozen=True)
class StageAnswer:
    """What a stage answered, how right that was, from 0 to 1, and its price; None if its node asks for none."""

    completion: Completion
    score: float
    cost: float | None


@dataclass(frozen=True)
class LoggedChoice:
    """A prompt for which a random rule chose a stage with this ``propensity``, and how right the answer was."""

    text: str
    strong: bool
    propensity: float
    score: float


def logged_choices(runs: Iterable[Path]) -> list[LoggedChoice]:
    """The choices in run directories that chance had a share in; raises SpecError where there are none."""
    found = [choice for given in runs for directory in run_directories(given) for choice in _choices_of(directory)]
    if not found:
        raise SpecError.of("router estimate", "no route of these runs has a propensity below 1 and a judged answer")
    return found


def _choices_of(directory: Path) -> Iterator[LoggedChoice]:
    with whole_run(directory):
        measured = RunFiles.load(directory).measured
        fallen_back = {event["prompt"] for event in measured.of("decision") if event["propensity"] is None}
        for event in measured.of("decision"):
            prompt, propensity = event["prompt"], event["propensity"]
            if propensity is not None and 0 < propensity < 1 and prompt in measured.scores.keys() - fallen_back:
                text, score = measured.prompts[prompt]["text"], measured.scores[prompt]
                yield LoggedChoice(text, event["reason"] == "strong", propensity, score)


def readable(known: Sequence[Example]) -> bool:
    """Whether every weak answer has the numbers that a router can read."""
    try:
        return all(numbers_of_answer(example.answer) for example in known)
    except JobError:
        return False


def stage_answers(directory: Path) -> dict[str, Sequence[StageAnswer]]:
    """The judged answers of a run by the text of the prompt, one of each stage, the weakest first."""
    with whole_run(directory):
        run = RunFiles.load(directory)
        said = {event["job"]: event for event in run.measured.of("end") if "text" in event}
        return {
            run.measured.prompts[prompt]["text"]: [_stage_answer(said[one["job"]], one, run) for one in opinions]
            for prompt, opinions in _judged(run.measured).items()
            if len({one["layer"] for one in opinions}) == len(opinions)
        }


def _of_run(directory: Path) -> Iterator[Example]:
    for text, answers in stage_answers(directory).items():
        if len(answers) == 2:
            weak, strong = answers
            yield Example(text, weak.completion, weak.score, strong.score)


def _stage_answer(end: Event, opinion: Event, run: RunFiles) -> StageAnswer:
    price = run.topology.nodes[end["node"]].price
    cost = None if price is None else price.of(end["prompt_tokens"], end["tokens"])
    return StageAnswer(_completion(end), opinion["value"], cost)


def _judged(measured: Measurements) -> dict[str, list[Event]]:
    """The judged answers of each prompt, the weakest stage's first."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in measured.of("opinion"):
        if event["value"] is not None and event["prompt"] in measured.prompts:
            found[event["prompt"]].append(event)
    return {prompt: sorted(events, key=lambda event: event["layer"]) for prompt, events in found.items()}


def _completion(end: Event) -> Completion:
    logprobs = end.get("logprobs")
    return Completion(
        end["text"],
        end["prompt_tokens"],
        end["tokens"],
        end["stopped"],
        None if logprobs is None else LogProbabilities(**logprobs),
    )
