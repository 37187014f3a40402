"""The messages between nodes of a ring; :mod:`.frames` writes them as bytes.

A message has a table of rows, which may be empty, and a payload. Each kind reads itself from both, and rejects whatever
it would not have written itself.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Self

import numpy as np

from testbed.node.ring.wire.activations import Encoding, Hidden

MOST_REASON: Final = 512
"""The most bytes of a reason in a :class:`Failing`."""

_TOKEN: Final = struct.Struct("<If")
_OPENING: Final = struct.Struct("<HIff")
_STAGE: Final = struct.Struct("<I")
_SECONDS: Final = struct.Struct("<f")


class FrameError(Exception):
    """Bytes are not a frame, or a frame does not continue the frames before it; the message is the reason."""


class Row(NamedTuple):
    """A token of a sample, by its position. If ``draw``, the last stage draws the next token from it."""

    sample: int
    position: int
    draw: bool


class Drawing(NamedTuple):
    """How the tokens of a sample are drawn. ``seed`` has 32 bits."""

    seed: int
    temperature: float
    top_p: float


@dataclass(frozen=True)
class Coding:
    """The encoding of hidden rows of ``width`` values (the model's n_embd)."""

    width: int
    encoding: Encoding

    @property
    def row_bytes(self) -> int:
        """The number of bytes of a row."""
        return self.encoding.row_bytes(self.width)


class RingMessage(ABC):
    """A message. ``kind`` is its number in a frame."""

    kind: ClassVar[int]

    @property
    def table(self) -> Sequence[Row]:
        """The rows of the message."""
        return ()

    def payload(self, coding: Coding) -> bytes:
        """The bytes after the rows."""
        del coding
        return b""

    @classmethod
    @abstractmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "RingMessage":
        """The message with these rows and this payload; raises FrameError."""


@dataclass(frozen=True)
class Activations(RingMessage):
    """Hidden rows for the next stage, from every stage but the last."""

    kind: ClassVar = 1
    rows: Sequence[Row]
    hidden: Hidden

    @property
    def table(self) -> Sequence[Row]:
        return self.rows

    def payload(self, coding: Coding) -> bytes:
        return coding.encoding.encode(self.hidden)

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Activations":
        _check_length(payload, _some(table) * coding.row_bytes)
        hidden = coding.encoding.decode(payload, coding.width)
        if not np.isfinite(hidden).all():
            raise FrameError("a hidden row holds what is no number")
        return cls(table, hidden)


@dataclass(frozen=True)
class Tokens(RingMessage):
    """The token that the last stage drew from each row, and the natural logarithm of the token's probability."""

    kind: ClassVar = 2
    rows: Sequence[Row]
    tokens: Sequence[int]
    logprobs: Sequence[float]

    @property
    def table(self) -> Sequence[Row]:
        return self.rows

    def payload(self, coding: Coding) -> bytes:
        del coding
        return b"".join(map(_TOKEN.pack, self.tokens, self.logprobs))

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Tokens":
        del coding
        _check_length(payload, _some(table) * _TOKEN.size)
        drawn = list(_TOKEN.iter_unpack(payload))
        if not all(logprob <= 0 for _, logprob in drawn):
            raise FrameError("a probability that is above 1, or no number")
        return cls(table, [token for token, _ in drawn], [logprob for _, logprob in drawn])


@dataclass(frozen=True)
class Opening(RingMessage):
    """A sample begins at a free place. This message goes round before any row of the sample."""

    kind: ClassVar = 3
    sample: int
    place: int
    drawing: Drawing

    @property
    def table(self) -> Sequence[Row]:
        return (_bare(self.sample),)

    def payload(self, coding: Coding) -> bytes:
        del coding
        return _OPENING.pack(self.place, *self.drawing)

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Opening":
        del coding
        if _some(table) > 1:
            raise FrameError(f"{len(table)} samples begin at once")
        _check_length(payload, _OPENING.size)
        place, *fields = _OPENING.unpack(payload)
        drawing = Drawing(*fields)
        if not (0 <= drawing.temperature <= 2 and 0 < drawing.top_p <= 1):
            raise FrameError(f"tokens are not drawn at temperature {drawing.temperature}, top-p {drawing.top_p}")
        return cls(_named(table)[0], place, drawing)


@dataclass(frozen=True)
class Freeing(RingMessage):
    """Samples have ended, and their places are free on every stage."""

    kind: ClassVar = 4
    samples: Sequence[int]

    @property
    def table(self) -> Sequence[Row]:
        return [_bare(sample) for sample in self.samples]

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Freeing":
        del coding
        _some(table)
        _check_length(payload, 0)
        return cls(_named(table))


@dataclass(frozen=True)
class Reset(RingMessage):
    """Forget all samples: frames of earlier epochs than this one's are void. The head sends it round.

    The ring is closed without the stages ``missing``, whose layers the other nodes hold.
    """

    kind: ClassVar = 5
    missing: Sequence[int]

    def payload(self, coding: Coding) -> bytes:
        del coding
        return b"".join(map(_STAGE.pack, self.missing))

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Reset":
        del coding
        _none(table)
        _check_length(payload, len(payload) // _STAGE.size * _STAGE.size)
        return cls(tuple(stage for (stage,) in _STAGE.iter_unpack(payload)))


@dataclass(frozen=True)
class _NamesStage(RingMessage):
    """A message that holds the number of a stage and nothing else."""

    stage: int

    def payload(self, coding: Coding) -> bytes:
        del coding
        return _STAGE.pack(self.stage)

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> Self:
        del coding
        _none(table)
        _check_length(payload, _STAGE.size)
        return cls(*_STAGE.unpack(payload))


@dataclass(frozen=True)
class Loss(_NamesStage):
    """The stage after ``stage`` has not heard from it for the time ``detect``."""

    kind: ClassVar = 6


@dataclass(frozen=True)
class Timing(RingMessage):
    """Seconds that stages take for batches (:mod:`..tuning`). Each stage appends its own."""

    kind: ClassVar = 7
    seconds: Sequence[float]

    def payload(self, coding: Coding) -> bytes:
        del coding
        return b"".join(map(_SECONDS.pack, self.seconds))

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Timing":
        del coding
        _none(table)
        _check_length(payload, len(payload) // _SECONDS.size * _SECONDS.size)
        return cls([seconds for (seconds,) in _SECONDS.iter_unpack(payload)])


@dataclass(frozen=True)
class Failing(RingMessage):
    """A stage cannot compute samples, and a second round would fail as well."""

    kind: ClassVar = 9
    samples: Sequence[int]
    reason: str

    @property
    def table(self) -> Sequence[Row]:
        return [_bare(sample) for sample in self.samples]

    def payload(self, coding: Coding) -> bytes:
        del coding
        return self.reason.encode(errors="replace")[:MOST_REASON].decode(errors="ignore").encode()

    @classmethod
    def read(cls, table: Sequence[Row], payload: bytes, coding: Coding) -> "Failing":
        del coding
        _some(table)
        _check_length(payload[MOST_REASON:], 0)
        try:
            return cls(_named(table), payload.decode())
        except UnicodeDecodeError:
            raise FrameError("a reason that is no text") from None


@dataclass(frozen=True)
class Alive(_NamesStage):
    """The sender, ``stage``, has sent nothing for a while and still runs."""

    kind: ClassVar = 8


KINDS: Final[dict[int, type[RingMessage]]] = {
    message.kind: message for message in (Activations, Tokens, Opening, Freeing, Reset, Loss, Timing, Alive, Failing)
}
"""The kinds of messages by their numbers."""


def _bare(sample: int) -> Row:
    """A row that names a sample and holds nothing else."""
    return Row(sample, 0, draw=False)


def _named(table: Sequence[Row]) -> Sequence[int]:
    """The samples that bare rows name; raises FrameError for other rows."""
    for row in table:
        if row != _bare(row.sample):
            raise FrameError(f"sample {row.sample} is named by a row that says more")
    return [row.sample for row in table]


def _some(table: Sequence[Row]) -> int:
    if not table:
        raise FrameError("it has no rows")
    return len(table)


def _none(table: Sequence[Row]) -> None:
    if table:
        raise FrameError(f"it has {len(table)} rows too many")


def _check_length(payload: bytes, length: int) -> None:
    if len(payload) != length:
        raise FrameError(f"a payload of {len(payload)} bytes; it should be {length}")
