"""What every pattern says of itself: who owns prompts, whom a node needs, which calls a prompt makes."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from testbed.core.input_files import anchored
from testbed.core.registry import KindError, Registry
from testbed.core.registry import anchored as in_file
from testbed.core.spec import Spec
from testbed.patterns.participant import Answer, Participant, Prompt, Surroundings

Loads = Mapping[str, Mapping[str, float]]
"""By node and role of a call: how many such calls the node gets for each prompt that arrives at every owner."""

Mistake = tuple[tuple[str | int, ...], str]
"""A place in a pattern's options, and the sentence on what is wrong there."""


class Pattern(Spec):
    """How nodes work together on a prompt: the options under ``pattern:`` in a scenario, and the logic in a node."""

    nests: ClassVar[bool] = True
    """Whether it can be a part of another pattern."""

    kind: str = Field(description="the pattern's name, or FILE.py:NAME from the scenario's directory")

    @property
    def parts(self) -> Sequence["Pattern"]:
        """The patterns that it is made of."""
        return ()

    @property
    def constrains(self) -> bool:
        """Whether the answers of its calls can be held to the choices of a question, or to a length."""
        return True

    @property
    def peers_needed(self) -> int:
        """How many neighbours every node must have."""
        return 0

    @property
    def reach(self) -> Literal["all", "linked"]:
        """Whom a node may call: every other node, or those with no further node between."""
        return "all"

    @property
    def last_layer(self) -> int:
        """The largest ``layer`` of a prompt's calls, which count from 1."""
        return 1

    def calls(self, owner: Surroundings) -> tuple[int, int] | None:
        """The calls of a prompt that arrives at ``owner``: at least and at most, if none fails.

        Every run is held to it. None where the pattern does not say.
        """
        del owner
        return None

    def quoted(self, owner: Surroundings) -> int:
        """The most responses that a chat of ``owner`` quotes, if none fails; each may have as many tokens as a call."""
        return max((part.quoted(owner) for part in self.parts), default=0)

    def owners(self, nodes: Mapping[str, Surroundings]) -> Sequence[str]:
        """The nodes that prompts arrive at, out of all ``nodes`` of the topology."""
        return list(nodes)

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads | None:
        """The calls that every node gets, given whom each node may call; None where its queue is no single server."""
        del neighbours
        return None

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """What in these options does not fit ``nodes``, of which ``owners`` run the pattern."""
        del nodes, owners
        yield from ()

    @property
    def learns(self) -> bool:
        """Whether it goes by how right earlier answers were; then it gets feedback on each."""
        return any(part.learns for part in self.parts)

    def learn(self, prompt: str, reward: float) -> None:
        """Take in how right the answer to the prompt called ``prompt`` was, from 0 to 1."""
        for part in self.parts:
            part.learn(prompt, reward)

    @abstractmethod
    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The answer to a prompt that arrived at ``owner``; raises JobError if there is none."""

    async def respond(self, prompt: Prompt, owner: Participant) -> Answer:
        """The answer as a part of another pattern, which may ask how sure it is; raises JobError."""
        return Answer(await self.answer(prompt, owner))


PATTERNS: Final[Registry[type[Pattern]]] = Registry("testbed.patterns", "pattern", Pattern)


def patterns_in(pattern: Pattern) -> Iterator[Pattern]:
    """``pattern`` and all that it is made of."""
    yield pattern
    for part in pattern.parts:
        yield from patterns_in(part)


def read_part(written: Any, info: ValidationInfo) -> Pattern:
    """The pattern that is ``written`` as an option of another one; raises ValueError."""
    if isinstance(written, Pattern):
        return written
    kind = written.get("kind") if isinstance(written, dict) else None
    if not isinstance(kind, str):
        raise ValueError("must hold the `kind` of a pattern, and its options")
    kind = in_file(kind, anchored(".", info.context))
    try:
        found = PATTERNS.get(kind)
    except KindError as error:
        raise ValueError(str(error)) from error
    if not found.nests:
        raise ValueError(f"a pattern of the kind {kind} cannot be a part of another")
    return found.model_validate({**written, "kind": kind}, context=info.context)


def _written(pattern: Pattern) -> dict[str, Any]:
    return pattern.model_dump(mode="json", exclude_none=True)


Part = Annotated[
    Pattern,
    PlainValidator(read_part),
    PlainSerializer(_written),
    WithJsonSchema({"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}),
]
"""An option of a pattern that is itself a pattern."""
