"""The order in which batches go round the ring. No I/O, no clock, no model: the head has these.

    place      one for each sample in flight; `batch` consecutive places are a group
    group      its samples' newest tokens go round together, as one batch of every stage, and come home together
    prompt     goes round in chunks, one behind the other, so that all stages compute it at once
    waiting    a prompt takes the next free place, in the group that has the fewest samples

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
    """A chat being completed: the tokens of its prompt and answer, and how many of them have gone into the ring."""

    number: int
    place: int
    tokens: list[int]
    sent: int = 0
    drawn_from: bool = False
    """Its prompt has been round, so it travels with its group."""

    @property
    def ready(self) -> bool:
        """Whether it has a token to travel with its group."""
        return self.drawn_from and self.sent < len(self.tokens)


@dataclass(frozen=True)
class Batch:
    """Rows that stages compute at once, and the token of each row."""

    rows: Sequence[Row]
    tokens: Sequence[int]


@dataclass
class Group:
    """The samples of consecutive places, by place, and the numbers of those whose tokens are under way."""

    places: range
    samples: dict[int, Sample] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)

    @property
    def free(self) -> Sequence[int]:
        """The places without a sample."""
        return [place for place in self.places if place not in self.samples]

    @property
    def ready(self) -> bool:
        """Whether none of its tokens is under way, and it has a token to send."""
        return not self.away and any(sample.ready for sample in self.samples.values())


class Schedule:
    """Samples in flight, in ``groups`` of ``batch`` places each. Prompts are sent in chunks of ``chunk`` tokens."""

    def __init__(self, groups: int, batch: int, chunk: int) -> None:
        self._groups = [Group(range(first, first + batch)) for first in range(0, groups * batch, batch)]
        self._chunk = chunk
        self._samples: dict[int, Sample] = {}
        self._prompts: deque[Sample] = deque()  # whose prompts have not gone in as a whole, the first one first
        self._turn: deque[Group] = deque(self._groups)  # the one that was sent last is the last
        self._prompt_was_last = False

    @property
    def room(self) -> bool:
        """Whether a place is free."""
        return any(group.free for group in self._groups)

    def begin(self, number: int, tokens: Sequence[int]) -> Sample:
        """Give the sample ``number`` a free place; there must be one."""
        group = max(self._groups, key=lambda group: len(group.free))
        sample = Sample(number, group.free[0], list(tokens))
        group.samples[sample.place] = sample
        self._samples[number] = sample
        self._prompts.append(sample)
        return sample

    def end(self, number: int) -> None:
        """Free the place of a sample that has ended."""
        sample = self._samples.pop(number)
        group = self._group(sample)
        del group.samples[sample.place]
        group.away.discard(number)
        if sample in self._prompts:
            self._prompts.remove(sample)

    def next(self) -> Batch | None:
        """The next batch for the ring; None if everything is under way. Prompts and groups take turns."""
        group = next((group for group in self._turn if group.ready), None)
        if self._prompts and (group is None or not self._prompt_was_last):
            self._prompt_was_last = True
            return self._send_chunk(self._prompts[0])
        if group is None:
            return None
        self._prompt_was_last = False
        return self._send(group)

    def drawn(self, rows: Sequence[Row], tokens: Sequence[int]) -> Iterator[tuple[Sample, int]]:
        """Add tokens that have come home to their samples; yields each sample with its token."""
        for row, token in zip(rows, tokens, strict=True):
            sample = self._samples[row.sample]
            sample.tokens.append(token)
            sample.drawn_from = True
            self._group(sample).away.discard(sample.number)
            yield sample, token

    def awaits(self, row: Row) -> bool:
        """Whether the token that follows ``row`` is the next of its sample, and under way."""
        sample = self._samples.get(row.sample)
        return sample is not None and row.position == len(sample.tokens) - 1 == sample.sent - 1

    def restart(self) -> Sequence[Sample]:
        """Send every sample round again from its first token on: the ring was reset. Returns all samples."""
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
