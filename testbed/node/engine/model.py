"""A llama.cpp model that completes chats."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Protocol

from testbed.node.config import BATCH, DRAFTED
from testbed.node.engine.chat import DEFAULTS, Chat, ContextOverflowError
from testbed.node.engine.slots.sampler import Drawn, Sampler
from testbed.node.engine.slots.weights import Logits, Weights
from testbed.node.engine.stage import Limits, Rows
from testbed.node.engine.writing import Writer
from testbed.patterns.participant import (
    ChatMessage,
    Completion,
    JobError,
    LogProbabilities,
    TokenLogProbability,
    Verification,
)
from testbed.patterns.protocol import ChatOptions

OnText = Callable[[str], None]
"""Takes what has become certain of an answer's text, which may be nothing; joined, it is the completion's text."""

TOP_P = 0.95
"""llama.cpp's default."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Everything else is llama.cpp's default."""

    temperature: float
    max_tokens: int
    seed: int
    top_p: float = TOP_P
    stop: tuple[str, ...] = ()
    """Texts that end the answer, and are no part of it."""
    top_logprobs: int | None = None
    """How many of the most likely tokens to tell beside each drawn one; None tells no token's log-probability."""
    grammar: str | None = None
    """What the answer must be, in GBNF."""
    ignore_eos: bool = False
    """Whether tokens that end an answer are never drawn, so that it has ``max_tokens`` where the context has room."""
    begun: tuple[int, ...] = ()
    """Tokens that the answer begins with. The completion is what comes after them."""


class LanguageModel(Protocol):
    """Completes chats, one at a time."""

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: OnText) -> Completion:
        """The next message of a chat. ``on_text`` is called after each token is drawn; what it raises ends the job."""

    def verify(self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling) -> Verification:
        """How much of ``draft`` :meth:`complete` would have drawn, and the token that it draws next."""

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Raise JobError for a chat that is too long by its mere length, or that its template refuses.

        Callable from every thread.
        """

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """The number of a chat's tokens, at least where they exceed the context; raises JobError. From every thread."""

    @property
    def vocabulary(self) -> str:
        """Equal for two models that number the same tokens alike."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says. Callable from every thread."""


@dataclass
class Answer:
    """An answer as it is written, at most ``limit`` tokens long."""

    chat: Chat
    prompt: list[int]
    sampling: Sampling
    limit: int
    sampler: Sampler
    model: str = ""
    drawn: list[Drawn] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        self._writer = Writer(self.chat.piece, self.sampling.stop)
        self._stopped = False

    def add(self, drawn: Drawn) -> str:
        """The text that has become certain by a token. Afterwards ``ended`` says whether it was the last."""
        self._stopped = self.chat.ends(drawn.token)
        text = ""
        if not self._stopped:
            self.drawn.append(drawn)
            text = self._writer.add(drawn.token)
        self._stopped = self._stopped or self._writer.stopped
        self.ended = self._stopped or len(self.drawn) == self.limit
        return text + self._writer.finish() if self.ended else text

    @property
    def completion(self) -> Completion:
        """What has been written."""
        told = () if self.sampling.top_logprobs is None else tuple(map(self._told, self.drawn))
        return Completion(
            self._writer.text,
            len(self.prompt),
            len(self.drawn),
            self._stopped,
            LogProbabilities.of([drawn.logprob for drawn in self.drawn]),
            tuple(drawn.token for drawn in self.drawn),
            told,
            model=self.model,
        )

    def _told(self, drawn: Drawn) -> TokenLogProbability:
        alternatives = tuple((self.chat.piece(token), logprob) for token, logprob in drawn.alternatives)
        return TokenLogProbability(self.chat.piece(drawn.token), drawn.logprob, alternatives)


class ChatModel:
    """One model in memory, with a KV cache of ``context`` tokens for each of the ``slots``.

    It is used by one thread at a time. With ``prefix_cache`` a slot keeps the beginning of its last chat that the next
    one shares; without, each job is computed from its first token on: kept prefixes make its time, and by rounding its
    text, depend on the job before it. Its completions carry the ``fingerprint``.
    """

    def __init__(
        self,
        path: Path,
        context: int,
        threads: int,
        chat: ChatOptions = DEFAULTS,
        slots: int = 1,
        prefix_cache: bool = False,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        self.batch = min(BATCH, context)
        self.slots = slots
        limits = Limits(context, slots, max(self.batch, slots), threads)
        self._weights = Weights(path, limits, min(max(slots, DRAFTED), limits.batch))
        self._context = context
        self._chat = Chat(self._weights.llama, chat)
        self._prefix_cache = prefix_cache
        self._cached: list[list[int]] = [[] for _ in range(slots)]  # tokens

    @property
    def vocabulary(self) -> str:
        """The hash of the tokens: see :attr:`.chat.Chat.vocabulary`."""
        return self._chat.vocabulary

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says."""
        writer = Writer(self._chat.piece, ())
        for token in tokens:
            writer.add(token)
        writer.finish()
        return writer.text

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: OnText) -> Completion:
        """The next message of a chat. ``on_text`` is called after each token is drawn. Raises JobError."""
        answer = self.begin(messages, sampling)
        try:
            tokens, begin = list(answer.prompt), self.clear(0, answer.prompt)
            while not answer.ended:
                drawn = self._read(0, tokens, begin, answer.sampler)
                begin = len(tokens)
                tokens.append(drawn.token)
                on_text(answer.add(drawn))
        finally:
            answer.sampler.close()
        return answer.completion

    def verify(
        self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling, slot: int = 0
    ) -> Verification:
        """How much of ``draft`` :meth:`complete` would have drawn, and the token that it draws next.

        The draft is read in batches. Raises JobError.
        """
        prompt = self._chat.tokenize(messages)
        self._room([*prompt, *draft])
        sampler = self._sampler(sampling)
        try:
            token = self._read(slot, prompt, self.clear(slot, prompt), sampler).token
            logits_after = self._logits_after(slot, len(prompt), draft)
            for accepted, drafted in enumerate(draft):
                if token != drafted or self._chat.ends(token):
                    return self._verification(accepted, token, prompt)
                token = sampler.draw(next(logits_after)).token
            return self._verification(len(draft), token, prompt)
        finally:
            sampler.close()

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Raise JobError for a chat that is too long by its mere length, or that its template refuses."""
        self._chat.check(messages, self._context)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """The number of a chat's tokens, at least where they exceed the context; raises JobError."""
        return self._chat.count(messages, self._context)

    def begin(self, messages: Sequence[ChatMessage], sampling: Sampling) -> Answer:
        """An answer without any token; raises JobError. Its sampler is to be closed."""
        prompt = [*self._chat.tokenize(messages), *sampling.begun]
        limit = min(sampling.max_tokens, self._room(prompt))
        return Answer(self._chat, prompt, sampling, limit, self._sampler(sampling), self.fingerprint)

    def clear(self, slot: int, prompt: Sequence[int]) -> int:
        """Make a slot ready for a prompt; returns how many of its tokens the slot holds already."""
        shared = 0
        if self._prefix_cache:
            pairs = zip(self._cached[slot], prompt[:-1], strict=False)  # the last token is read for its logits
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        kept = self._weights.keep(slot, shared)
        del self._cached[slot][kept:]
        return kept

    def read(
        self, rows: Rows, tokens: Sequence[int], samplers: Mapping[int, Sampler]
    ) -> Iterator[tuple[int, Drawn | JobError]]:
        """Compute rows of tokens; yields what the samplers of some rows draw after these. Raises StageError."""
        for slot, token in zip(rows.sequences, tokens, strict=True):
            self._cached[slot].append(token)
        for row, logits in self._weights.read(rows, tokens, list(samplers)):
            try:
                drawn: Drawn | JobError = samplers[row].draw(logits)
            except JobError as error:
                drawn = error
            yield row, drawn

    def close(self) -> None:
        """Give the memory back."""
        self._weights.close()

    def _read(self, slot: int, tokens: Sequence[int], begin: int, sampler: Sampler) -> Drawn:
        """Read the tokens from ``begin`` on, and draw the next; raises JobError."""
        found: list[tuple[int, Drawn | JobError]] = []
        for first in range(begin, len(tokens), self.batch):
            part = tokens[first : first + self.batch]
            rows = Rows([slot] * len(part), range(first, first + len(part)))
            last = first + len(part) == len(tokens)
            found = list(self.read(rows, part, {len(part) - 1: sampler} if last else {}))
        ((_, drawn),) = found
        if isinstance(drawn, JobError):
            raise drawn
        return drawn

    def _logits_after(self, slot: int, position: int, tokens: Sequence[int]) -> Iterator[Logits]:
        """The logits after each of the tokens, which are read as they are asked for."""
        for first in range(0, len(tokens), DRAFTED):
            part = tokens[first : first + DRAFTED]
            rows = Rows([slot] * len(part), range(position + first, position + first + len(part)))
            self._cached[slot] += part
            for _, logits in self._weights.read(rows, part, range(len(part))):
                yield logits

    def _verification(self, accepted: int, token: int, prompt: Sequence[int]) -> Verification:
        return Verification(accepted, None if self._chat.ends(token) else token, len(prompt))

    def _sampler(self, sampling: Sampling) -> Sampler:
        return Sampler(
            self._weights.vocabulary,
            sampling.temperature,
            sampling.top_p,
            sampling.seed,
            sampling.top_logprobs or 0,
            sampling.grammar,
            self._chat.ending if sampling.ignore_eos else (),
        )

    def _room(self, tokens: Sequence[int]) -> int:
        """How many tokens the context can take after ``tokens``; raises ContextOverflowError if none."""
        room = self._context - len(tokens)
        if room < 1:
            raise ContextOverflowError.of(len(tokens), self._context)
        return room
