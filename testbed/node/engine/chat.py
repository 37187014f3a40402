"""Chats as a model's tokens, and its tokens as text."""

from collections.abc import Sequence

from llama_cpp import Llama, llama_chat_format, llama_cpp

ChatMessage = dict[str, str]
"""``{"role": …, "content": …}``, as the OpenAI API has it."""


class Chat:
    """How a model writes chats: its tokenizer and its template."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama
        self._vocabulary = llama._model.vocab  # no public name in 0.3.36
        self._format = llama_chat_format.Jinja2ChatFormatter(
            template=llama.metadata.get("tokenizer.chat_template", llama_chat_format.CHATML_CHAT_TEMPLATE),
            bos_token=self._text_of(llama.token_bos()),
            eos_token=self._text_of(llama.token_eos()),
        )

    def tokenize(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The tokens of a chat up to where the assistant's answer begins."""
        formatted = self._format(messages=list(messages))  # type: ignore[arg-type]
        return list(self._llama.tokenize(formatted.prompt.encode(), add_bos=not formatted.added_special, special=True))

    def detokenize(self, tokens: Sequence[int], prompt: Sequence[int]) -> str:
        """The text of an answer to a prompt."""
        text = self._llama.detokenize(list(tokens), prev_tokens=list(prompt))
        return text.decode("utf-8", errors="replace").strip()

    def ends(self, token: int) -> bool:
        """Whether a token is the end of an answer, and no part of its text."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    def _text_of(self, token: int) -> str:
        return self._llama.detokenize([token], special=True).decode("utf-8", errors="replace") if token >= 0 else ""
