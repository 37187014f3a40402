"""Conversion of chats to tokens, and of tokens to text."""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property

from llama_cpp import Llama, llama_chat_format, llama_cpp

from testbed.patterns.participant import ChatMessage, JobError


class ContextOverflowError(JobError):
    """A chat does not fit the model's context."""

    @classmethod
    def of(cls, tokens: int, context: int, least: bool = False) -> "ContextOverflowError":
        """The error of a chat that has ``tokens``, or at ``least`` that many."""
        return cls(f"the chat has {'at least ' if least else ''}{tokens} tokens; the context holds {context}")


class Chat:
    """The tokenizer and the chat template of one model."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._vocabulary = llama._model.vocab  # no public name in 0.3.36
        self._format = llama_chat_format.Jinja2ChatFormatter(
            template=llama.metadata.get("tokenizer.chat_template", llama_chat_format.CHATML_CHAT_TEMPLATE),
            bos_token=self._text_of(llama.token_bos()),
            eos_token=self._text_of(llama.token_eos()),
        )

    def tokenize(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The tokens of a chat, up to the beginning of the assistant's answer."""
        formatted = self._format(messages=list(messages))  # type: ignore[arg-type]
        return list(self._llama.tokenize(formatted.prompt.encode(), add_bos=not formatted.added_special, special=True))

    def check(self, messages: Sequence[ChatMessage], context: int) -> None:
        """Raise ContextOverflowError for a chat that is too long by the length of its text; it is not tokenized.

        A token stands for at most as many bytes as the longest one. Also raises JobError if the template refuses.
        """
        try:
            size = len(self._format(messages=list(messages)).prompt.encode(errors="replace"))  # type: ignore[arg-type]
        except Exception as error:  # whatever a model's template raises
            raise JobError(str(error)) from error
        tokens = math.ceil(size / self._longest_token)
        if tokens >= context:
            raise ContextOverflowError.of(tokens, context, least=True)

    def detokenize(self, tokens: Sequence[int], prompt: Sequence[int]) -> str:
        """The text of an answer to a prompt."""
        text = self._llama.detokenize(list(tokens), prev_tokens=list(prompt))
        return text.decode("utf-8", errors="replace").strip()

    def ends(self, token: int) -> bool:
        """Whether a token ends an answer. Such a token is no part of the text."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    @cached_property
    def _longest_token(self) -> int:
        """Bytes of the longest token, or more: the vocabulary writes some bytes as several."""
        count = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        return max(len(llama_cpp.llama_vocab_get_text(self._vocabulary, token) or b"") for token in range(count))

    @cached_property
    def vocabulary(self) -> str:
        """SHA-256 over the texts of all tokens in their order: equal where two models number the same tokens alike."""
        digest = hashlib.sha256()
        for token in range(llama_cpp.llama_vocab_n_tokens(self._vocabulary)):
            text = llama_cpp.llama_vocab_get_text(self._vocabulary, token) or b""
            digest.update(len(text).to_bytes(4, "little") + text)
        return digest.hexdigest()

    def _text_of(self, token: int) -> str:
        return self._llama.detokenize([token], special=True).decode("utf-8", errors="replace") if token >= 0 else ""
