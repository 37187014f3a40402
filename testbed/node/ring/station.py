"""One stage's part in the ring: takes a frame, and returns the frame for the next stage. No sockets, no clock.

Frames that do not continue the frames before are rejected with FrameError: a row of a sample that has not begun, a row
out of order, a place that is taken. So a cache never holds rows that do not belong to its sample.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from testbed.node.engine.likelihood import log_probability
from testbed.node.engine.stage import Rows, StageError
from testbed.node.ring.sampler import draw
from testbed.node.ring.wire.activations import Hidden
from testbed.node.ring.wire.frames import Frame
from testbed.node.ring.wire.messages import (
    Activations,
    Drawing,
    Failing,
    FrameError,
    Freeing,
    Opening,
    Reset,
    RingMessage,
    Row,
    Tokens,
)


class Layers(Protocol):
    """The part of a stage's interface that inner and last stages share."""

    @property
    def width(self) -> int:
        """The number of values of a hidden state."""

    def free(self, sequence: int) -> None:
        """Remove a sequence from the cache."""

    def close(self) -> None:
        """Free the memory."""


class InnerLayers(Layers, Protocol):
    """The layers of a stage that is not the last."""

    def forward(self, rows: Rows, hidden: Hidden) -> Hidden:
        """The hidden states after its layers."""


class LastLayers(Layers, Protocol):
    """The layers of the last stage."""

    def logits(self, rows: Rows, hidden: Hidden, wanted: Sequence[int]) -> Hidden:
        """The logits of the wanted rows."""


@dataclass
class Cached:
    """A sample at a stage: its place, which is its sequence there, and the number of tokens that the stage has cached.

    Once it has ``failed``, rows of it that are still under way are ignored.
    """

    place: int
    drawing: Drawing
    tokens: int = 0
    failed: bool = False


class Station(ABC):
    """A stage with ``places`` for samples of up to ``context`` tokens each. It is used by one thread at a time."""

    def __init__(self, layers: Layers, places: int, context: int) -> None:
        self._layers = layers
        self._places = places
        self._context = context
        self._samples: dict[int, Cached] = {}
        self.epoch = 0
        self.width = layers.width
        """The number of values of a hidden row."""

    def close(self) -> None:
        """Free the layers' memory."""
        self._layers.close()

    def take(self, frame: Frame) -> Frame | None:
        """The frame for the next stage, None if there is none; raises FrameError.

        A frame of an earlier epoch was sent before the ring was reset. It is ignored, and no error.
        """
        if isinstance(frame.message, Reset) and frame.epoch > self.epoch:
            self._reset(frame.epoch)
        if frame.epoch > self.epoch:
            raise FrameError(f"it is of epoch {frame.epoch}, and this is {self.epoch}")
        if frame.epoch < self.epoch:
            return None
        message = self._follow(frame.message)
        return None if message is None else Frame(frame.epoch, message)

    def _follow(self, message: RingMessage) -> RingMessage | None:
        match message:
            case Activations(rows, hidden):
                return self._compute(rows, hidden)
            case Opening(sample, place, drawing):
                self._open(sample, place, drawing)
            case Freeing(samples):
                self._free(samples)
            case Tokens():
                raise FrameError("tokens are for the head")
        return message

    @abstractmethod
    def _run(self, rows: Sequence[Row], samples: Sequence[Cached], hidden: Hidden) -> RingMessage | None:
        """The message after this stage's layers. Each row is the next of its sample."""

    def _compute(self, rows: Sequence[Row], hidden: Hidden) -> RingMessage | None:
        samples = self._next(rows)
        if any(cached.failed for cached in samples):
            return None
        try:
            return self._run(rows, samples, hidden)
        except (StageError, MemoryError) as error:
            for cached in samples:
                cached.failed = True
            return Failing(sorted({row.sample for row in rows}), str(error))

    def _next(self, rows: Sequence[Row]) -> list[Cached]:
        """The sample of each row; raises FrameError unless each row is the next of its sample, and there is room."""
        counts = {number: cached.tokens for number, cached in self._samples.items()}
        for row in rows:
            if row.sample not in counts:
                raise FrameError(f"sample {row.sample} is unknown")
            if row.position != counts[row.sample]:
                raise FrameError(f"sample {row.sample} is at {counts[row.sample]}, not at {row.position}")
            if row.position >= self._context:
                raise FrameError(f"sample {row.sample} is longer than {self._context} tokens")
            counts[row.sample] += 1
        for row in rows:
            self._samples[row.sample].tokens = counts[row.sample]
        return [self._samples[row.sample] for row in rows]

    def _open(self, sample: int, place: int, drawing: Drawing) -> None:
        if sample in self._samples:
            raise FrameError(f"sample {sample} has begun already")
        if place >= self._places or any(cached.place == place for cached in self._samples.values()):
            raise FrameError(f"place {place} of {self._places} is not free for sample {sample}")
        self._samples[sample] = Cached(place, drawing)

    def _free(self, samples: Sequence[int]) -> None:
        for sample in samples:
            if sample not in self._samples:
                raise FrameError(f"sample {sample} is unknown")
        for sample in samples:
            self._layers.free(self._samples.pop(sample).place)

    def _reset(self, epoch: int) -> None:
        self._free(list(self._samples))
        self.epoch = epoch


class InnerStation(Station):
    """A stage that is not the last."""

    def __init__(self, layers: InnerLayers, places: int, context: int) -> None:
        super().__init__(layers, places, context)
        self._inner = layers

    def _run(self, rows: Sequence[Row], samples: Sequence[Cached], hidden: Hidden) -> RingMessage:
        return Activations(rows, self._inner.forward(_rows(rows, samples), hidden))


class LastStation(Station):
    """The last stage. It draws the tokens."""

    def __init__(self, layers: LastLayers, places: int, context: int) -> None:
        super().__init__(layers, places, context)
        self._last = layers

    def _follow(self, message: RingMessage) -> RingMessage | None:
        """As every stage, but openings and freeings end here: the head, which comes next, sent them."""
        followed = super()._follow(message)
        return None if isinstance(followed, Opening | Freeing) else followed

    def _run(self, rows: Sequence[Row], samples: Sequence[Cached], hidden: Hidden) -> RingMessage | None:
        wanted = [number for number, row in enumerate(rows) if row.draw]
        logits = self._last.logits(_rows(rows, samples), hidden, wanted)
        if not wanted:
            return None
        lines = np.asarray(logits)
        tokens = [
            draw(line, samples[number].drawing, rows[number].position)
            for number, line in zip(wanted, lines, strict=True)
        ]
        if not np.isfinite(lines).all():
            raise StageError("the model's logits hold what is no number")
        logprobs = [log_probability(line, token) for line, token in zip(lines, tokens, strict=True)]
        return Tokens([rows[number] for number in wanted], tokens, logprobs)


def _rows(rows: Sequence[Row], samples: Sequence[Cached]) -> Rows:
    return Rows([cached.place for cached in samples], [row.position for row in rows])


class Stations(Protocol):
    """The stations that a node can be, by the names of the nodes that are missing from the ring."""

    def __contains__(self, missing: object) -> bool:
        """Whether the remaining nodes have room for the layers of the nodes ``missing``."""

    def load(self, missing: Sequence[str]) -> Station:
        """The station, with its layers in memory."""
