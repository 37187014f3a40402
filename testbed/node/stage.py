"""A stage of a ring: some layers of a model in memory, with a KV cache for each sequence.

A *row* is one token of one sequence. Rows come in as their hidden states (``float32``, one line each) and leave as the
hidden states after the stage's layers, or as logits where the stage is the last.

    front = Front(path)                        # on the ring's first node
    stage, last = Stage(path, limits), LastStage(path, limits)
    tokens = front.tokenize(messages)
    rows = Rows(sequences=[0] * len(tokens), positions=range(len(tokens)))
    hidden = stage.forward(rows, front.embed(tokens))
    logits = last.logits(rows, hidden, wanted=[len(tokens) - 1])
    token = int(logits[0].argmax())
    stage.free(0), last.free(0)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Hidden = NDArray[np.float32]
"""Hidden states or logits: a line for each row."""


class StageError(Exception):
    """llama.cpp refused: a file that is no stage, or rows that do not follow what the cache holds."""


@dataclass(frozen=True)
class Limits:
    """What a stage makes room for: ``sequences`` at once, each of ``context`` tokens; ``batch`` rows in one call."""

    context: int
    sequences: int
    batch: int
    threads: int


@dataclass(frozen=True)
class Rows:
    """Whose tokens the lines of a batch are: each one's sequence, below Limits.sequences, and its place in it."""

    sequences: Sequence[int]
    positions: Sequence[int]

    def __len__(self) -> int:
        return len(self.positions)


class Stage:
    """The layers of one stage that is not the last. It is used by one thread at a time."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Load the stage; raises StageError."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """The values of a hidden state."""
        raise NotImplementedError

    def forward(self, rows: Rows, hidden: Hidden) -> Hidden:
        """The hidden states after this stage's layers, line by line. Raises StageError.

        The rows of a sequence must follow what it has cached. They are computed as one batch where they are of one
        sequence (a chunk of a prompt), or one of each of several whose numbers follow each other (a group).
        """
        raise NotImplementedError

    def free(self, sequence: int) -> None:
        """Forget a sequence; its room is for another one."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the memory back."""
        raise NotImplementedError


class LastStage:
    """The layers of the last stage, the final norm and the output matrix; otherwise like :class:`Stage`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Load the stage; raises StageError."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """The values of a hidden state."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> int:
        """The values of a row of logits."""
        raise NotImplementedError

    def logits(self, rows: Rows, hidden: Hidden, wanted: Sequence[int]) -> Hidden:
        """The logits of the ``wanted`` rows, in that order; the others only fill the cache. Raises StageError."""
        raise NotImplementedError

    def free(self, sequence: int) -> None:
        """Forget a sequence; its room is for another one."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the memory back."""
        raise NotImplementedError
