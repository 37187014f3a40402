"""A llama.cpp model that completes chats."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from llama_cpp import Llama, llama_cpp
from llama_cpp.llama_grammar import LlamaGrammar
from numpy.typing import NDArray

from testbed.node.engine.chat import DEFAULTS, Chat, ContextOverflowError
from testbed.node.engine.likelihood import log_probability, most_likely
from testbed.node.engine.writing import Writer
from testbed.patterns.participant import ChatMessage, Completion, LogProbabilities, TokenLogProbability, Verification
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


class ChatModel:
    """One model in memory. It is used by one thread at a time."""

    def __init__(self, path: Path, context: int, threads: int, chat: ChatOptions = DEFAULTS) -> None:
        # Without mmap the weights are this process's own: a page cache shared with another node would let two nodes
        # hold one model in the memory of one.
        self._llama = Llama(
            str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, use_mmap=False, verbose=False
        )
        self._context = context
        self._chat = Chat(self._llama, chat)

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
        """The next message of a chat. ``on_text`` is called after each token is drawn. Raises ContextOverflowError."""
        prompt = [*self._chat.tokenize(messages), *sampling.begun]
        limit = min(sampling.max_tokens, self._room(prompt))
        writer = Writer(self._chat.piece, sampling.stop)
        drawn: list[int] = []
        logprobs: list[float] = []
        told: list[TokenLogProbability] = []
        stopped = False
        for token in self._drawn(prompt, sampling):
            stopped, text = self._chat.ends(token), ""
            if not stopped:
                drawn.append(token)
                logprobs.append(log_probability(self._logits(), token))
                if sampling.top_logprobs is not None:
                    told.append(self._told(token, logprobs[-1], sampling.top_logprobs))
                text = writer.add(token)
            if stopped or writer.stopped or len(drawn) == limit:
                on_text(text + writer.finish())
                break
            on_text(text)
        return Completion(
            writer.text,
            len(prompt),
            len(drawn),
            stopped or writer.stopped,
            LogProbabilities.of(logprobs),
            tuple(drawn),
            tuple(told),
        )

    def verify(self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling) -> Verification:
        """How much of ``draft`` :meth:`complete` would have drawn, and the token that it draws next.

        The draft is read as one batch. Raises ContextOverflowError.
        """
        prompt = self._chat.tokenize(messages)
        self._room([*prompt, *draft])
        self._begin(sampling)
        sampler = self._llama._init_sampler(temp=sampling.temperature, top_p=sampling.top_p)
        self._llama.eval(prompt)
        token = sampler.sample(self._llama._ctx, -1)
        for accepted, drafted in enumerate(draft):
            if token != drafted or self._chat.ends(token):
                return Verification(accepted, None if self._chat.ends(token) else token, len(prompt))
            if accepted % self._llama.n_batch == 0:
                self._read_for_logits(draft[accepted : accepted + self._llama.n_batch])
            token = sampler.sample(self._llama._ctx, accepted % self._llama.n_batch)
        return Verification(len(draft), None if self._chat.ends(token) else token, len(prompt))

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Raise JobError for a chat that is too long by its mere length, or that its template refuses."""
        self._chat.check(messages, self._context)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """The number of a chat's tokens, at least where they exceed the context; raises JobError."""
        return self._chat.count(messages, self._context)

    def _room(self, tokens: Sequence[int]) -> int:
        """How many tokens the context can take after ``tokens``; raises ContextOverflowError if none."""
        room = self._context - len(tokens)
        if room < 1:
            raise ContextOverflowError.of(len(tokens), self._context)
        return room

    def _begin(self, sampling: Sampling) -> None:
        # Each job is computed from its first token on: kept prefixes would make its time, and by rounding its text,
        # depend on the job before it.
        self._llama.reset()  # type: ignore[no-untyped-call]
        self._llama.set_seed(sampling.seed)

    def _drawn(self, prompt: list[int], sampling: Sampling) -> Iterator[int]:
        """Tokens as they are drawn, without end."""
        self._begin(sampling)
        grammar = None if sampling.grammar is None else LlamaGrammar.from_string(sampling.grammar)
        yield from self._llama.generate(prompt, temp=sampling.temperature, top_p=sampling.top_p, grammar=grammar)

    def _told(self, token: int, logprob: float, alternatives: int) -> TokenLogProbability:
        others = most_likely(self._logits(), alternatives)
        pieces = tuple((self._chat.piece(other), likelihood) for other, likelihood in others)
        return TokenLogProbability(self._chat.piece(token), logprob, pieces)

    def _logits(self) -> NDArray[np.float32]:
        """The logits that the last token was drawn from; llama.cpp's own memory, valid until the next batch."""
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._llama.ctx, -1), (self._llama.n_vocab(),))

    def _read_for_logits(self, tokens: Sequence[int]) -> None:
        """Read tokens as one batch that gives logits after each of them; ``eval`` gives them after the last alone."""
        llama = self._llama
        llama._batch.set_batch(batch=list(tokens), n_past=llama.n_tokens, logits_all=True)
        llama._ctx.decode(llama._batch)
        llama.n_tokens += len(tokens)
