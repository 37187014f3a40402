"""A llama.cpp model that completes chats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llama_cpp import Llama

from testbed.node.engine.chat import Chat, ChatMessage

TOP_P = 0.95
"""llama.cpp's default."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. llama.cpp's own defaults hold for what is not named."""

    temperature: float
    max_tokens: int
    seed: int
    top_p: float = TOP_P


@dataclass(frozen=True)
class Completion:
    """What the model said, how many tokens it read and wrote, and whether it stopped by itself."""

    text: str
    prompt_tokens: int
    tokens: int
    stopped: bool


class LanguageModel(Protocol):
    """What completes chats, one at a time."""

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_token: Callable[[], None]) -> Completion:
        """The next turn of a chat; ``on_token`` is called as each token is drawn."""


class ContextOverflowError(Exception):
    """A chat does not fit the model's context."""


class ChatModel:
    """One model in memory. It is used by one thread at a time."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        # Without mmap the weights are this process's own: a page cache shared with another node would let two nodes
        # hold one model in the memory of one.
        self._llama = Llama(
            str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, use_mmap=False, verbose=False
        )
        self._context = context
        self._chat = Chat(self._llama)

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_token: Callable[[], None]) -> Completion:
        """The next turn of a chat; ``on_token`` is called as each token is drawn. Raises ContextOverflowError."""
        prompt = self._chat.tokenize(messages)
        room = self._context - len(prompt)
        if room < 1:
            raise ContextOverflowError(f"the chat has {len(prompt)} tokens; the context holds {self._context}")
        drawn, stopped = self._draw(prompt, sampling, min(sampling.max_tokens, room), on_token)
        return Completion(self._chat.detokenize(drawn, prompt), len(prompt), len(drawn), stopped)

    def _draw(
        self, prompt: list[int], sampling: Sampling, limit: int, on_token: Callable[[], None]
    ) -> tuple[list[int], bool]:
        # Each job is computed from its first token on: kept prefixes would make its time, and by rounding its text,
        # depend on the job before it.
        self._llama.reset()  # type: ignore[no-untyped-call]
        self._llama.set_seed(sampling.seed)
        drawn: list[int] = []
        for token in self._llama.generate(prompt, temp=sampling.temperature, top_p=sampling.top_p):
            on_token()
            if self._chat.ends(token):
                return drawn, True
            drawn.append(token)
            if len(drawn) == limit:
                break
        return drawn, False
