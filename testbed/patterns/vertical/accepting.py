"""Whether the answer of a stage is good enough: signals of its certainty, and their thresholds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from testbed.core.input_files import InputFile
from testbed.core.spec import Spec
from testbed.patterns.base import Mistake, Pattern
from testbed.patterns.participant import Completion, JobError
from testbed.patterns.signals import RANGES, WORDS, signal_of
from testbed.patterns.vertical.routers.router import Router
from testbed.patterns.vertical.stages import Delegation

AcceptanceSignal = Literal["word", "mean", "p10", "first", "votes", "verify", "router"]

_RANGES: Final[Mapping[AcceptanceSignal, tuple[float, float]]] = {
    **dict(RANGES.items()),
    "votes": (0.0, 1.0),
    "verify": (0.0, 1.0),
    "router": (0.0, 1.0),
}

_OF_NODES: Final = ("word", "mean", "p10", "first", "verify", "router")
_OF_PATTERNS: Final = ("word", "votes")
_OF_DELEGATIONS: Final = ("word",)


def _threshold(written: object) -> object:
    return WORDS[written] if isinstance(written, str) and written in WORDS else written


Threshold = Annotated[
    float, BeforeValidator(_threshold), WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": [*WORDS]}]})
]


class Acceptance(Spec):
    """The rule by which an answer is accepted: ``signal`` is at least ``above``."""

    signal: AcceptanceSignal = Field(description="what tells how sure an answer is")
    above: Threshold | list[Threshold] = Field(
        description="the least signal that is accepted: one for all stages, or one for each but the last"
    )
    times: int = Field(3, ge=1, le=20, description="of verify: how many times a node judges its own answer")
    router: InputFile | None = Field(None, description="of router: the file that `testbed router fit` made")

    @model_validator(mode="after")
    def _check(self) -> "Acceptance":
        if (self.signal == "router") != (self.router is not None):
            raise ValueError("`router` is the file of the signal `router`; write both or neither")
        return self

    @cached_property
    def _router(self) -> Router:
        return Router.load(Path(self.router or ""))

    def threshold(self, stage: int) -> float:
        """The least signal with which the answer of ``stage``, counted from 0, is accepted."""
        return self.above[stage] if isinstance(self.above, list) else self.above

    @property
    def checks(self) -> int:
        """How many calls it takes to judge an answer."""
        return self.times if self.signal == "verify" else 0

    def sufficiency(self, text: str, reply: "Reply") -> float:
        """The signal ``router``: the probability that the last stage would not be the only one that is right.

        Raises JobError where the reply has no log-probabilities that the router reads.
        """
        return 1.0 - self._router.score(text, reply.as_completion)

    def mistakes(self, stages: Sequence[str | Delegation | Pattern]) -> Iterator[Mistake]:
        """What does not fit ``stages``, the last of which is accepted in any case."""
        least, most = _RANGES[self.signal]
        given = self.above if isinstance(self.above, list) else [self.above]
        for threshold in given:
            if not least <= threshold <= most:
                bounds = f"at most {most:g}" if least == float("-inf") else f"from {least:g} to {most:g}"
                yield ("above",), f"{threshold:g} is no threshold of `{self.signal}`, which is {bounds}"
        if isinstance(self.above, list) and len(given) != len(stages) - 1:
            yield ("above",), f"{len(given)} thresholds for {len(stages)} stages; write one for each but the last"
        for stage in stages[:-1]:
            able = deliverable(stage)
            if self.signal not in able:
                what = _called(stage)
                yield ("signal",), f"{what} cannot deliver `{self.signal}`; it has {', '.join(able)}"
                return
        if self.signal == "router":
            yield from self._router_mistakes(len(stages))

    def _router_mistakes(self, stages: int) -> Iterator[Mistake]:
        if stages != 2:
            yield ("signal",), f"{stages} stages; a router knows two, the weak one and the strong one"
        try:
            _ = self._router
        except ValueError as error:
            yield ("router",), str(error)


def deliverable(stage: str | Delegation | Pattern) -> Sequence[str]:
    """The signals that a stage has of its answers."""
    match stage:
        case str():
            return _OF_NODES
        case Delegation():
            return _OF_DELEGATIONS
        case _:
            return _OF_PATTERNS


def _called(stage: str | Delegation | Pattern) -> str:
    match stage:
        case str():
            return f"the stage {stage}"
        case Delegation(delegate=name):
            return f"the delegation to {name}"
        case _:
            return f"the stage {stage.kind}"


@dataclass(frozen=True)
class Reply:
    """The answer of a stage. ``completion`` is that of a node's model, ``votes`` the share that a pattern counted."""

    text: str
    completion: Completion | None = None
    votes: float | None = None

    def signal(self, name: AcceptanceSignal) -> float:
        """The value of a signal that needs no further call; raises JobError where the answer does not have it."""
        if name == "votes":
            if self.votes is None:
                raise JobError("nobody voted on this answer, so it has no `votes`")
            return self.votes
        if name == "verify" or name == "router":  # noqa: PLR1714  # mypy narrows no membership
            raise JobError(f"`{name}` takes more than the answer")
        return signal_of(self.as_completion, name)

    @property
    def as_completion(self) -> Completion:
        """The answer as a completion, of which a pattern's has the text alone."""
        return self.completion or Completion(self.text, 0, 0, True)
