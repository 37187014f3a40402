"""Pipeline-parallel inference (MDI-LLM: Macario, Seferoglu, Koyuncu, arXiv 2505.18164, and larger groups).

    head ──hidden rows──► stage ──hidden rows──► … ──hidden rows──► last stage
      ▲                                                                 │
      └────────────────────────────── tokens ◄──────────────────────────┘

The layers of one model are split over a ring of nodes. Prompts arrive at the ring's first node, the head. The head
completes chats with the ring as other nodes do with their own model.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from testbed.core.units import Duration
from testbed.patterns.base import Mistake, Pattern
from testbed.patterns.participant import Call, Participant, Prompt, Surroundings


class Pipeline(Pattern):
    """The layers of one model are spread over a ring of nodes, which complete prompts together (arXiv 2505.18164).

    ``ring`` names the nodes in the order of the layers that they hold. All of them name the same model.
    """

    nests: ClassVar[bool] = False

    ring: list[str] = Field(min_length=1, description="the nodes that share the model; prompts arrive at the first")
    split: list[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="how many layers each node of the ring holds; planned if left out"
    )
    schedule: Literal["sequential", "recurrent", "microbatch", "auto"] = Field(
        "microbatch", description="one sample in flight, one a stage, groups of them, or what measuring finds best"
    )
    samples: int = Field(8, ge=1, le=1024, description="most in flight, of microbatch and auto")
    groups: int | None = Field(None, ge=1, description="of microbatch: how many; as many as stages if left out")
    chunk: int = Field(32, ge=1, le=512, description="tokens of a prompt that go round at once")
    activations: Literal["f32", "f16", "q8_0"] = Field("f32", description="how hidden rows are written; f32 is exact")
    detect: Duration = Field(2.0, ge=0.1, description="silence after which a stage is lost")
    take_over: Duration | None = Field(
        None,
        description="how long a lost stage is waited for before the others take its layers; for ever if left out",
    )
    patience: Duration = Field(30.0, description="how long samples wait for a lost stage before they are given up")

    @property
    def constrains(self) -> bool:
        """A ring takes neither a grammar nor ``ignore_eos``."""
        return False

    @property
    def places(self) -> tuple[int, int]:
        """The number of groups of samples, and the number of places in each."""
        match self.schedule:
            case "sequential":
                return 1, 1
            case "recurrent":
                return len(self.ring), 1
            case "auto":
                return 1, self.samples
            case "microbatch":
                groups = min(self.groups or len(self.ring), self.samples)
                return groups, -(-self.samples // groups)

    @model_validator(mode="after")
    def _check(self) -> "Pipeline":
        if repeated := [name for number, name in enumerate(self.ring) if name in self.ring[:number]]:
            raise ValueError(f"{repeated[0]!r} is twice in `ring`; a node holds one part of the model")
        if self.split is not None and len(self.split) != len(self.ring):
            raise ValueError(f"`split` has {len(self.split)} parts for the {len(self.ring)} nodes of `ring`")
        if self.groups is not None and self.schedule != "microbatch":
            raise ValueError(f"`groups` does not go with `schedule: {self.schedule}`, which makes its own")
        return self

    def owners(self, nodes: Mapping[str, Surroundings]) -> Sequence[str]:
        """The head alone."""
        del nodes
        return self.ring[:1]

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """One, which the whole ring works on."""
        del owner
        return 1, 1

    def mistakes(self, nodes: Mapping[str, Surroundings], owners: Sequence[str]) -> Iterator[Mistake]:
        """Names in ``ring`` that the topology's ``nodes`` lack."""
        del owners
        for number, name in enumerate(self.ring):
            if name not in nodes:
                yield ("ring", number), f"there is no node {name!r}; known are {', '.join(nodes)}"

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """The ring's completion of the prompt; raises JobError."""
        return (await owner.complete(Call.of(prompt.text))).text
