"""A llama.cpp model that completes chats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llama_cpp import Llama, llama_chat_format, llama_cpp

Message = dict[str, str]
"""``{"role": …, "content": …}``, as the OpenAI API has it."""


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

    def complete(self, messages: Sequence[Message], sampling: Sampling, on_token: Callable[[], None]) -> Completion:
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
        self._format = llama_chat_format.Jinja2ChatFormatter(
            template=self._llama.metadata.get("tokenizer.chat_template", llama_chat_format.CHATML_CHAT_TEMPLATE),
            bos_token=self._text_of(self._llama.token_bos()),
            eos_token=self._text_of(self._llama.token_eos()),
        )

    def complete(self, messages: Sequence[Message], sampling: Sampling, on_token: Callable[[], None]) -> Completion:
        """The next turn of a chat; ``on_token`` is called as each token is drawn. Raises ContextOverflowError."""
        prompt = self._tokenize(messages)
        room = self._context - len(prompt)
        if room < 1:
            raise ContextOverflowError(f"the chat has {len(prompt)} tokens; the context holds {self._context}")
        drawn, stopped = self._draw(prompt, sampling, min(sampling.max_tokens, room), on_token)
        text = self._llama.detokenize(drawn, prev_tokens=prompt).decode("utf-8", errors="replace")
        return Completion(text.strip(), len(prompt), len(drawn), stopped)

    def _tokenize(self, messages: Sequence[Message]) -> list[int]:
        formatted = self._format(messages=list(messages))  # type: ignore[arg-type]
        return list(self._llama.tokenize(formatted.prompt.encode(), add_bos=not formatted.added_special, special=True))

    def _draw(
        self, prompt: list[int], sampling: Sampling, limit: int, on_token: Callable[[], None]
    ) -> tuple[list[int], bool]:
        # Each job is computed from its first token on: kept prefixes would make its time, and by rounding its text,
        # depend on the job before it.
        self._llama.reset()  # type: ignore[no-untyped-call]
        self._llama.set_seed(sampling.seed)
        vocabulary = self._llama._model.vocab  # no public name in 0.3.36
        drawn: list[int] = []
        for token in self._llama.generate(prompt, temp=sampling.temperature, top_p=sampling.top_p):
            on_token()
            if llama_cpp.llama_vocab_is_eog(vocabulary, token):
                return drawn, True
            drawn.append(token)
            if len(drawn) == limit:
                break
        return drawn, False

    def _text_of(self, token: int) -> str:
        return self._llama.detokenize([token], special=True).decode("utf-8", errors="replace") if token >= 0 else ""
