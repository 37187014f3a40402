"""What goes round the ring next. No I/O, no clock, no model: the head brings these.

    places     as many as there are samples in flight; `batch` consecutive ones are a group
    group      its samples' newest tokens go round together, as one batch of every stage, and come home together
    prompt     goes round in chunks, one behind the other, so that all stages are at it at once
    waiting    a prompt takes a place that becomes free at once, in the group that has the fewest samples

One group of one place is a ring with one sample in flight (`sequential`); as many groups of one place as there are
stages is MDI-LLM's recurrent pipeline; larger groups share each reading of the weights among their samples, and more
groups than stages keep the stages busy while tokens are on the links. docs/pipeline.md has the arithmetic.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from testbed.node.ring.wire.messages import Row


@dataclass
class Sample:
    """A chat being completed: its tokens, prompt and drawn, and how many of them have gone into the ring."""

    number: int
    place: int
    tokens: list[int]
    sent: int = 0
    drawn_from: bool = False
    """Its prompt has been round: from now on it travels with its group."""

    @property
    def ready(self) -> bool:
        """Whether it has a token to travel with its group."""
        return self.drawn_from and self.sent < len(self.tokens)


@dataclass(frozen=True)
class Batch:
    """What stages compute at once: rows, and the token of each."""

    rows: Sequence[Row]
    tokens: Sequence[int]


@dataclass
class Group:
    """The samples of consecutive places, by place, and those whose tokens are on their way round."""

    places: range
    samples: dict[int, Sample] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)

    @property
    def free(self) -> Sequence[int]:
        """The places that nobody has."""
        return [place for place in self.places if place not in self.samples]

    @property
    def ready(self) -> bool:
        """Whether it is home and has something to send."""
        return not self.away and any(sample.ready for sample in self.samples.values())


class Schedule:
    """The samples in flight in ``groups`` of ``batch`` places each. Prompts go in chunks of ``chunk`` tokens."""

    def __init__(self, groups: int, batch: int, chunk: int) -> None:
        self._groups = [Group(range(first, first + batch)) for first in range(0, groups * batch, batch)]
        self._chunk = chunk
        self._samples: dict[int, Sample] = {}
        self._prompts: deque[Sample] = deque()  # whose prompts have not gone in as a whole, the first one first
        self._turn: deque[Group] = deque(self._groups)  # the one that was sent last is the last
        self._prompt_was_last = False

    @property
    def room(self) -> bool:
        """Whether there is a place for another sample."""
        return any(group.free for group in self._groups)

    def begin(self, number: int, tokens: Sequence[int]) -> Sample:
        """Take in a sample, for which there must be room; it is the one that the ring knows as ``number``."""
        group = max(self._groups, key=lambda group: len(group.free))
        sample = Sample(number, group.free[0], list(tokens))
        group.samples[sample.place] = sample
        self._samples[number] = sample
        self._prompts.append(sample)
        return sample

    def end(self, number: int) -> None:
        """A sample has ended; its place is free."""
        sample = self._samples.pop(number)
        group = self._group(sample)
        del group.samples[sample.place]
        group.away.discard(number)
        if sample in self._prompts:
            self._prompts.remove(sample)

    def next(self) -> Batch | None:
        """What goes into the ring now; None if all that there is is on its way. Prompts and groups take turns."""
        group = next((group for group in self._turn if group.ready), None)
        if self._prompts and (group is None or not self._prompt_was_last):
            self._prompt_was_last = True
            return self._send_chunk(self._prompts[0])
        if group is None:
            return None
        self._prompt_was_last = False
        return self._send(group)

    def drawn(self, rows: Sequence[Row], tokens: Sequence[int]) -> Iterator[tuple[Sample, int]]:
        """Tokens have come home: give each its sample, which it is added to."""
        for row, token in zip(rows, tokens, strict=True):
            sample = self._samples[row.sample]
            sample.tokens.append(token)
            sample.drawn_from = True
            self._group(sample).away.discard(sample.number)
            yield sample, token

    def awaits(self, row: Row) -> bool:
        """Whether a token drawn from ``row`` is due."""
        sample = self._samples.get(row.sample)
        return sample is not None and row.position == len(sample.tokens) - 1 == sample.sent - 1

    def restart(self) -> Sequence[Sample]:
        """All that was in the ring is lost: every sample, of which this gives all, goes round again from its first
        token on."""
        for group in self._groups:
            group.away.clear()
        for sample in self._samples.values():
            sample.sent, sample.drawn_from = 0, False
        self._prompts = deque(self._samples.values())
        return self._prompts

    def _send_chunk(self, sample: Sample) -> Batch:
        begin, whole = sample.sent, len(sample.tokens)
        sample.sent = min(begin + self._chunk, whole)
        if sample.sent == whole:
            self._prompts.popleft()
        rows = [Row(sample.number, position, position == whole - 1) for position in range(begin, sample.sent)]
        return Batch(rows, sample.tokens[begin : sample.sent])

    def _send(self, group: Group) -> Batch:
        self._turn.remove(group)
        self._turn.append(group)
        samples = [group.samples[place] for place in group.places if place in group.samples]
        going = [sample for sample in samples if sample.ready]
        group.away = {sample.number for sample in going}
        for sample in going:
            sample.sent = len(sample.tokens)
        rows = [Row(sample.number, sample.sent - 1, draw=True) for sample in going]
        return Batch(rows, [sample.tokens[-1] for sample in going])

    def _group(self, sample: Sample) -> Group:
        return self._groups[sample.place // len(self._groups[0].places)]
