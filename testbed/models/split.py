"""A model cut into the stages of a ring: one GGUF file for each, and one for the front.

    front     what turns text into numbers: the tokenizer, the chat template, and the embedding of every token
    stage 0   the first layers: embeddings in, hidden state out
    stage 1…  the next layers: hidden state in, hidden state out
    the last  the last layers, the final norm and the output matrix: hidden state in, logits out

The ring's first node has the front beside its stage. Weights are copied as they are, quantized or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from testbed.models.source import Model, ModelError


@dataclass(frozen=True)
class StagePlan:
    """How many layers each stage holds, from the first one on: what follows is contiguous and leaves no layer out."""

    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 1:
            raise ModelError(f"a plan of stages needs a layer in each, not {list(self.layers)}")

    @classmethod
    def even(cls, layers: int, stages: int) -> "StagePlan":
        """As many layers in each stage as can be; the first ones hold what is left over. Raises ModelError."""
        if not 1 <= stages <= layers:
            raise ModelError(f"{layers} layers make 1 to {layers} stages, not {stages}")
        each, rest = divmod(layers, stages)
        return cls(tuple(each + (stage < rest) for stage in range(stages)))

    @classmethod
    def parse(cls, text: str) -> "StagePlan":
        """The plan that the user wrote like ``0-5,6-11``: first and last layer of each stage. Raises ModelError."""
        raise NotImplementedError

    @property
    def total(self) -> int:
        """The layers of all stages."""
        return sum(self.layers)

    @property
    def ranges(self) -> tuple[range, ...]:
        """The layers of each stage, as the model counts them."""
        return tuple(range(begin, end) for begin, end in pairwise(accumulate(self.layers, initial=0)))

    def __str__(self) -> str:
        return ",".join(f"{layers[0]}-{layers[-1]}" for layers in self.ranges)


@dataclass(frozen=True)
class StageFile:
    """One stage's file. ``size`` is in bytes; a stage that holds the file in memory holds nothing more of the model."""

    path: Path
    layers: range
    size: int


@dataclass(frozen=True)
class Split:
    """The files of one model under one plan."""

    model: Model
    plan: StagePlan
    front: Path
    stages: tuple[StageFile, ...]

    def __iter__(self) -> Iterator[StageFile]:
        return iter(self.stages)


def split(model: Model, plan: StagePlan, folder: Path) -> Split:
    """Write what is not there yet of the files of ``model`` under ``plan`` below ``folder``, and say where they are.

    A file is named for the model's content and its layers, so that it is found again and shared by plans. Raises
    ModelError for an architecture that cannot be split, and for a plan of another number of layers.
    """
    raise NotImplementedError
