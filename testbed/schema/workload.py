"""The workload of a scenario: which prompts arrive where and when, and who judges the answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from testbed.core.spec import Spec
from testbed.patterns.base import Pattern
from testbed.patterns.participant import Prompt
from testbed.schema.kind_fields import OfKind
from testbed.schema.network.node import AgentNode, Node
from testbed.schema.reading.explain import Loc, Mistake, MistakesError
from testbed.workload.arrivals.base import ARRIVALS, ArrivalProcess
from testbed.workload.prompts.base import PROMPTS, PromptSource, Question, SizedSource
from testbed.workload.schedule import Arrival, schedule
from testbed.workload.scoring.base import SCORERS, Scorer

_LOOKED_AT: Final = 1000  # questions of a source that does not know them before play


def _or_the_sources(written: object, info: ValidationInfo) -> object:
    """The scorer that the file names, else the one of its prompt source."""
    if written is not None:
        return written
    source = info.data.get("prompts")
    return source.scored_by if source else "exact"  # a source that is wrong is a mistake of its own


SPREAD: Final = "spread"
"""The value of ``workload.at`` with which prompts arrive at all nodes that own any."""


class Workload(Spec):
    """The prompts, their arrivals and the scorer of answers. ``count`` is the number of prompts over all nodes.

    Without a ``scorer``, the prompt source says which one judges its questions.
    """

    prompts: Annotated[PromptSource, OfKind(PROMPTS, "source")]
    arrivals: Annotated[ArrivalProcess, OfKind(ARRIVALS, "process", default="poisson")]
    count: int = Field(ge=1)
    scorer: Annotated[Scorer, OfKind(SCORERS, "scorer"), BeforeValidator(_or_the_sources)] = Field(
        None, validate_default=True, description="judges the answers; left out, the one of the prompt source"
    )

    further_scorers: list[Annotated[Scorer, OfKind(SCORERS, "scorer")]] = Field(
        default_factory=list, description="judge the answers, too; `accuracy` is by `scorer` alone"
    )

    constrain: Literal["choices"] | None = Field(
        None, description="choices: a grammar holds answers to the letters of a question's choices"
    )

    at: str | dict[str, str] = Field(
        SPREAD, description="where prompts arrive: spread over all nodes that own any, one node, or {LABEL: NODE}"
    )

    @property
    def spread(self) -> bool:
        """Whether the arrival process alone says where prompts arrive."""
        return self.at == SPREAD

    @property
    def nodes(self) -> Mapping[Loc, str]:
        """The nodes that ``at`` names, each by its place."""
        if isinstance(self.at, dict):
            return {("at", label): node for label, node in self.at.items()}
        return {} if self.spread else {("at",): self.at}

    @property
    def scorers(self) -> list[Scorer]:
        """All scorers; the first is the one that counts."""
        return [self.scorer, *self.further_scorers]

    @model_validator(mode="after")
    def _check_truths(self) -> "Workload":
        """Refuse a truth that no scorer can use, where the questions are known."""
        for question in self.prompts.known():
            reasons = [scorer.objection(question) for scorer in self.scorers]
            if all(reasons):
                raise MistakesError([(("scorer",), f"{question.place}: {reasons[0]}, as `{self.scorer.scorer}` needs")])
        return self

    def mistakes(self, nodes: Mapping[str, Node], patterns: Sequence[Pattern], seed: int) -> Iterator[Mistake]:
        """What does not fit ``nodes`` and the ``patterns`` of a scenario."""
        agents = {name: node for name, node in nodes.items() if isinstance(node, AgentNode)}
        if self.constrain is not None:
            yield from self._choice_mistakes(seed)
        if isinstance(self.prompts, SizedSource):
            yield from self._length_mistakes(agents)
        if self.constrain is None and not isinstance(self.prompts, SizedSource):
            return
        place, what = (("constrain",), "choices") if self.constrain else (("prompts",), "a length")
        for name, node in nodes.items():
            if (name in agents or node.takes_prompts) and not node.constrains:
                yield place, f"node {name!r} ({node.kind}) cannot hold answers to {what}; take another kind of node"
        for kind in dict.fromkeys(pattern.kind for pattern in patterns if not pattern.constrains):
            yield place, f"the pattern {kind!r} cannot hold answers to {what}; take another pattern"

    def _choice_mistakes(self, seed: int) -> Iterator[Mistake]:
        for question in self._looked_at(seed):
            if not question.choices:
                place = question.place or f"the question {question.text!r}"
                yield ("constrain",), f"{place} has no choices; name them in `prompts`, or leave `constrain` out"
                return

    def _length_mistakes(self, agents: Mapping[str, AgentNode]) -> Iterator[Mistake]:
        """The first mistake in the lengths, or the first node whose context cannot hold the longest."""
        try:
            most = max(islice(self.arrivals.lengths(), self.count), key=lambda one: one.input + one.output)
        except ValueError as error:
            yield ("arrivals",), str(error)
            return
        for name, node in agents.items():
            if most.input + most.output > node.context:
                longest = f"a prompt of {most.input} tokens and its answer of {most.output}"
                yield ("prompts",), f"{name!r} has a context of {node.context} for {longest}; give it more `context`"
                return

    def has_truths(self, seed: int) -> bool:
        """Whether the right answer to any question is known."""
        return any(question.truths for question in self._looked_at(seed))

    def _looked_at(self, seed: int) -> Sequence[Question]:
        return self.prompts.known() or self.prompts.questions(min(self.count, _LOOKED_AT), seed)

    def schedule(self, owners: Sequence[str], seed: int) -> list[Arrival]:
        """Every arrival at ``owners``, in order of time."""
        by_label = self.at if isinstance(self.at, dict) else {}
        arrivals = schedule(self.prompts, self.arrivals, self.count, owners, seed, by_label)
        if self.constrain is None:
            return arrivals
        return [replace(arrival, question=arrival.question.constrained()) for arrival in arrivals]


def prompt_of(arrival: Arrival) -> Prompt:
    """What the node of an arrival is asked. A secret stays on its tier."""
    question = arrival.question
    return Prompt(
        arrival.prompt,
        question.text,
        privacy="device" if question.secret else None,
        label=question.label,
        before=question.before,
        allowed=question.allowed,
        tokens=question.tokens,
    )
