"""The stages of a pattern over tiers, as a scenario names them: ``[self, edge1, {delegate: edge2}, {kind: vote}]``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from testbed.core.spec import Spec
from testbed.patterns.base import Mistake, Pattern, read_part
from testbed.patterns.participant import Surroundings

SELF: Final = "self"
"""The stage that is the prompt's owner."""


class Delegation(Spec):
    """A stage in which another node answers with a pattern of its own."""

    delegate: str


def _read(written: Any, info: ValidationInfo) -> "str | Delegation | Pattern":
    if isinstance(written, str | Delegation | Pattern):
        return written
    if isinstance(written, dict) and "delegate" in written:
        return Delegation.model_validate(written)
    if isinstance(written, dict) and "kind" in written:
        return read_part(written, info)
    raise ValueError("a stage is self, the name of a node, {delegate: NODE}, or a pattern with its `kind`")


def _written(stage: "str | Delegation | Pattern") -> Any:
    return stage if isinstance(stage, str) else stage.model_dump(mode="json", exclude_none=True)


Stage = Annotated[
    str | Delegation | Pattern,
    PlainValidator(_read),
    PlainSerializer(_written),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]}),
]
"""``self``, the name of a node whose model answers, a delegation, or a pattern that answers."""


def node_of(stage: "str | Delegation | Pattern") -> str | None:
    """The node that a stage names; None of ``self`` and of a pattern."""
    match stage:
        case Delegation(delegate=name):
            return name
        case str() if stage != SELF:
            return stage
    return None


def title(stage: "str | Delegation | Pattern", owner: str) -> str:
    """How a stage is called in events: after its node, or after its kind."""
    return stage.kind if isinstance(stage, Pattern) else node_of(stage) or owner


def stage_mistakes(
    stages: Sequence["str | Delegation | Pattern"], nodes: Mapping[str, Surroundings], owners: Sequence[str]
) -> Iterator[Mistake]:
    """What does not fit ``nodes``, of which ``owners`` have the prompts."""
    named = [node_of(stage) for stage in stages]
    for number, (stage, name) in enumerate(zip(stages, named, strict=True)):
        if stage == SELF and SELF in nodes:
            yield (number,), "`self` is the node that has the prompt, and a node has the same name; rename the node"
        elif stage == SELF and stages.index(SELF) < number:
            yield (number,), "`self` is a stage already; name each stage once"
        elif name is not None and name not in nodes:
            yield (number,), f"there is no node {name!r}; known are self, {', '.join(nodes)}"
        elif name is not None and named.index(name) < number:
            yield (number,), f"{name!r} is a stage already; name each stage once"
        elif name is not None:
            yield from (((number,), sentence) for sentence in _unreachable(name, nodes, owners))
        elif isinstance(stage, Pattern):
            yield from (((number, *place), sentence) for place, sentence in stage.mistakes(nodes, owners))


def _unreachable(name: str, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[str]:
    for owner in owners:
        if owner == name:
            yield f"prompts arrive at {name!r} itself; call the stage self, or give other nodes the prompts"
            return
        if name not in {peer.name for peer in nodes[owner].peers}:
            yield f"{owner!r} is not linked to {name!r}; write `neighbours: all`, or delegate to a node between them"
            return
