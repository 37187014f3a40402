"""Answers as streams of server-sent events."""

from collections.abc import Iterator
from typing import Final, Protocol

from pydantic import BaseModel

from testbed.node.openai.chats import ChatChunk, Choice, ChunkChoice, Delta
from testbed.node.openai.date import unix_time
from testbed.node.openai.generation import GenerationRequest, Usage
from testbed.node.openai.texts import TextChoice, TextResponse
from testbed.patterns.participant import Completion

DONE: Final = b"data: [DONE]\n\n"
"""The last event of every stream that did not fail."""


class Stream(Protocol):
    """Makes the parts of one streamed answer, which has choices by number."""

    def grown(self, index: int, text: str) -> BaseModel:
        """The part that adds ``text`` to a choice."""

    def ended(self, index: int, completion: Completion) -> BaseModel:
        """The part that ends a choice."""

    def usage(self, usage: Usage) -> BaseModel:
        """The part that tells the numbers of tokens."""


class ChatStream:
    """The parts of a chat completion."""

    def __init__(self, request: GenerationRequest, job: str, model: str) -> None:
        self._with_logprobs = request.alternatives is not None
        self._known = {"id": job, "created": unix_time(), "model": model}
        self._begun: set[int] = set()

    def grown(self, index: int, text: str) -> ChatChunk:
        """The first part of a choice names its role."""
        role = None if index in self._begun else "assistant"
        self._begun.add(index)
        return self._chunk(ChunkChoice(index=index, delta=Delta(role=role, content=text)))

    def ended(self, index: int, completion: Completion) -> ChatChunk:
        """With the log-probabilities of all tokens, where they are wanted."""
        whole = Choice.of(index, completion, self._with_logprobs)
        return self._chunk(
            ChunkChoice(index=index, delta=Delta(), logprobs=whole.logprobs, finish_reason=whole.finish_reason)
        )

    def usage(self, usage: Usage) -> ChatChunk:
        """Without choices."""
        return ChatChunk(**self._known, choices=[], usage=usage)

    def _chunk(self, choice: ChunkChoice) -> ChatChunk:
        return ChatChunk(**self._known, choices=[choice])


class TextStream:
    """The parts of a text completion."""

    def __init__(self, request: GenerationRequest, job: str, model: str) -> None:
        self._with_logprobs = request.alternatives is not None
        self._known = {"id": job, "created": unix_time(), "model": model}

    def grown(self, index: int, text: str) -> TextResponse:
        """A choice that has not ended."""
        return TextResponse(**self._known, choices=[TextChoice(index=index, text=text, finish_reason=None)])

    def ended(self, index: int, completion: Completion) -> TextResponse:
        """With the log-probabilities of all tokens, where they are wanted."""
        whole = TextChoice.of(index, completion, self._with_logprobs)
        return TextResponse(**self._known, choices=[whole.model_copy(update={"text": ""})])

    def usage(self, usage: Usage) -> TextResponse:
        """Without choices."""
        return TextResponse(**self._known, choices=[], usage=usage)


class Growth:
    """How far the choices of an answer have been sent."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._sent: dict[int, int] = {}

    def add(self, index: int, text: str) -> bytes:
        """The event that adds ``text`` to a choice."""
        self._sent[index] = self._sent.get(index, 0) + len(text)
        return event(self._stream.grown(index, text))

    def end(self, index: int, completion: Completion) -> Iterator[bytes]:
        """The events that end a choice, with what was not sent of it yet: all, if it was worked out before."""
        if index not in self._sent or self._sent[index] < len(completion.text):
            yield self.add(index, completion.text[self._sent.get(index, 0) :])
        yield event(self._stream.ended(index, completion))


def event(part: BaseModel) -> bytes:
    """One server-sent event."""
    return b"data: " + part.model_dump_json(exclude_none=True).encode() + b"\n\n"
