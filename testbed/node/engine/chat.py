"""Conversion of chats to tokens, and of tokens to text.

Text that comes from users and other nodes is data: where it spells a control token, like ``<|end|>``, it becomes the
tokens of that text. Only the template's own text makes control tokens.
"""

import ctypes
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Final

from llama_cpp import Llama, llama_chat_format, llama_cpp

from testbed.node.engine.template import ChatTemplate, TemplateError, jinja
from testbed.patterns.participant import ChatMessage, JobError, PlainText
from testbed.patterns.protocol import ChatOptions

TEMPLATE: Final = "tokenizer.chat_template"
"""The key of a model's own template in its header."""

_HELLO: Final[ChatMessage] = {"role": "user", "content": "Hello"}
_CONTROL: Final = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
_STAND_INS: Final = range(0xF0000, 0xFFFFE)  # a plane for private use: no text has a meaning there
DEFAULTS: Final = ChatOptions()


class ContextOverflowError(JobError):
    """A chat does not fit the model's context."""

    @classmethod
    def of(cls, tokens: int, context: int, least: bool = False) -> "ContextOverflowError":
        """The error of a chat that has ``tokens``, or at ``least`` that many."""
        return cls(f"the chat has {'at least ' if least else ''}{tokens} tokens; the context holds {context}")


class Chat:
    """The tokenizer and the chat template of one model."""

    def __init__(self, llama: Llama, options: ChatOptions = DEFAULTS) -> None:
        """Raises TemplateError."""
        self._llama = llama
        self._vocabulary = llama._model.vocab  # no public name in 0.3.36
        own = llama.metadata.get(TEMPLATE, llama_chat_format.CHATML_CHAT_TEMPLATE)
        bos, eos = self._text_of(llama.token_bos()), self._text_of(llama.token_eos())
        self._template = ChatTemplate(jinja(options.template) if options.template else own, bos, eos)
        self._system = options.system
        self._control_texts = {self._text_of(token) for token in self._tokens if self._controls(token)} - {""}
        self._control = _either(self._control_texts)

    def tokenize(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The tokens of a chat, up to the beginning of the assistant's answer; raises TemplateError.

        They begin with one BOS token where the model wants one.
        """
        if isinstance(messages, PlainText):
            text = messages[0]["content"]
            return self._with_one_bos(self._llama.tokenize(text.encode(), add_bos=False, special=False))
        messages = self._complete(messages)
        stand_ins = self._stand_ins(messages)
        text = self._template.render(self._replaced(messages, stand_ins))
        tokens: list[int] = []
        for part, literal in self._parts(text, stand_ins):
            tokens += self._llama.tokenize(part.encode(), add_bos=False, special=not literal)
        return self._with_one_bos(tokens)

    def check(self, messages: Sequence[ChatMessage], context: int) -> None:
        """Raise ContextOverflowError for a chat that is too long by the length of its text; it is not tokenized.

        Also raises TemplateError.
        """
        if (tokens := self._fewest_tokens(messages)) >= context:
            raise ContextOverflowError.of(tokens, context, least=True)

    def count(self, messages: Sequence[ChatMessage], context: int) -> int:
        """The number of tokens of a chat; of one that is too long by the length of its text, a lower bound.

        Raises TemplateError.
        """
        fewest = self._fewest_tokens(messages)
        return fewest if fewest >= context else len(self.tokenize(messages))

    def rehearse(self, context: int) -> None:
        """Read a short message of a user; raises TemplateError or ContextOverflowError if the model cannot take any."""
        if (tokens := self.count([_HELLO], context)) >= context:
            overflow = ContextOverflowError.of(tokens, context)
            raise ContextOverflowError(f"it has no room for a message of one word: {overflow}")
        if _HELLO["content"] not in self._template.render(self._complete([_HELLO])):
            raise TemplateError("its chat template leaves out what the user says")

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for: none for a control token."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_token_to_piece(self._vocabulary, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def detokenize(self, tokens: Sequence[int], prompt: Sequence[int]) -> str:
        """The text of an answer to a prompt."""
        text = self._llama.detokenize(list(tokens), prev_tokens=list(prompt))
        return text.decode("utf-8", errors="replace").strip()

    def ends(self, token: int) -> bool:
        """Whether a token ends an answer. Such a token is no part of the text."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    @cached_property
    def ending(self) -> Sequence[int]:
        """The tokens that end an answer."""
        return [token for token in self._tokens if self.ends(token)]

    @cached_property
    def vocabulary(self) -> str:
        """SHA-256 over the texts of all tokens in their order: equal where two models number the same tokens alike."""
        digest = hashlib.sha256()
        for token in self._tokens:
            text = self._written(token)
            digest.update(len(text).to_bytes(4, "little") + text)
        return digest.hexdigest()

    @property
    def _tokens(self) -> range:
        return range(llama_cpp.llama_vocab_n_tokens(self._vocabulary))

    @cached_property
    def _longest_token(self) -> int:
        """Bytes of the longest token, or more: the vocabulary writes some bytes as several."""
        return max(len(self._written(token)) for token in self._tokens)

    def _fewest_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """As many as a chat has at least: a token stands for at most as many bytes as the longest one."""
        plain = isinstance(messages, PlainText)
        text = messages[0]["content"] if plain else self._template.render(self._complete(messages))
        return math.ceil(len(text.encode(errors="replace")) / self._longest_token)

    def _written(self, token: int) -> bytes:
        """A token as the vocabulary writes it."""
        return llama_cpp.llama_vocab_get_text(self._vocabulary, token) or b""

    def _controls(self, token: int) -> bool:
        return bool(llama_cpp.llama_vocab_get_attr(self._vocabulary, token) & _CONTROL)

    def _text_of(self, token: int) -> str:
        return self._llama.detokenize([token], special=True).decode("utf-8", errors="replace") if token >= 0 else ""

    def _complete(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """A chat with the node's system message, unless it begins with one of its own."""
        if not self._system or messages[0]["role"] == "system":
            return messages
        return [{"role": "system", "content": self._system}, *messages]

    def _stand_ins(self, messages: Sequence[ChatMessage]) -> Mapping[str, str]:
        """A character that stands for each control token spelled by a message, by the token's text.

        The template sees these in place of the text. Where a message ends with the beginning of a control token, its
        last character is replaced: what the template writes next must not complete the token.
        """
        contents = [message["content"] for message in messages]
        spelled = {found for content in contents for found in self._control.findall(content)}
        spelled |= {content[-1] for content in contents if content.endswith(self._beginnings)}
        used = set[str]().union(*contents) if spelled else set()
        unused = (chr(number) for number in _STAND_INS if chr(number) not in used)
        return dict(zip(sorted(spelled), unused, strict=False))

    def _replaced(self, messages: Sequence[ChatMessage], stand_ins: Mapping[str, str]) -> Sequence[ChatMessage]:
        if not stand_ins:
            return messages

        def replaced(content: str) -> str:
            if content.endswith(self._beginnings):
                content = content[:-1] + stand_ins[content[-1]]
            return self._control.sub(lambda found: stand_ins[found[0]], content)

        return [{"role": message["role"], "content": replaced(message["content"])} for message in messages]

    @cached_property
    def _beginnings(self) -> tuple[str, ...]:
        return tuple({text[:length] for text in self._control_texts for length in range(1, len(text))})

    def _parts(self, text: str, stand_ins: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
        """The text of a chat in parts, each with whether control tokens in it are meant literally.

        A part ends only at control tokens, where tokenizers begin anew.
        """
        if not stand_ins:
            yield text, False
            return
        meant = {ord(stand_in): literal for literal, stand_in in stand_ins.items()}
        pieces = re.split(f"({self._control.pattern})", text)
        for literal, group in groupby(pieces, key=lambda piece: not meant.keys().isdisjoint(map(ord, piece))):
            yield "".join(group).translate(meant), literal

    def _with_one_bos(self, tokens: list[int]) -> list[int]:
        bos = self._llama.token_bos()
        own = next((place for place, token in enumerate(tokens) if token != bos), len(tokens))
        wanted = min(own, 1) or int(llama_cpp.llama_vocab_get_add_bos(self._vocabulary))
        return [bos] * wanted + tokens[own:]


def _either(texts: set[str]) -> re.Pattern[str]:
    """A pattern of all texts, of which the longest counts; of a vocabulary without control tokens it finds nothing."""
    ordered = sorted(texts, key=lambda text: (text[0], -len(text)))
    firsts = [
        f"{re.escape(first)}(?:{'|'.join(re.escape(text[1:]) for text in group)})"
        for first, group in groupby(ordered, key=lambda text: text[0])
    ]
    return re.compile("|".join(firsts) or r"(?!)")
