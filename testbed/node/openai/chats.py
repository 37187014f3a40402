"""Chat completions. Source: the API reference, "Create chat completion"."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from testbed.node.openai.date import unix_time
from testbed.node.openai.formats import ResponseFormat
from testbed.node.openai.generation import GenerationRequest, Usage
from testbed.patterns.participant import ChatMessage, Completion, LogProbabilities, TokenLogProbability

_MOST_MESSAGES = 2048


def _joined(content: Any) -> Any:
    """The text of content in parts."""
    if not isinstance(content, list):
        return content
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else part
            raise ValueError(f'a part of the type {kind!r} is not supported; write {{"type": "text", "text": …}}')
    return "".join(part["text"] for part in content)


def _as_system(role: Any) -> Any:
    """``developer`` is today's name of ``system``; models know the old one."""
    return "system" if role == "developer" else role


class Message(BaseModel):
    """A message. Its content may be written in parts."""

    model_config = ConfigDict(extra="forbid")

    role: Annotated[Literal["system", "user", "assistant"], BeforeValidator(_as_system)]
    content: Annotated[str, BeforeValidator(_joined)]

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, written: Any) -> Any:
        """Leave out empty fields of an assistant's message, as clients send it back."""
        if not isinstance(written, dict):
            return written
        return {name: value for name, value in written.items() if value not in (None, [])}


class ChatRequest(GenerationRequest):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=_MOST_MESSAGES)]
    max_completion_tokens: int | None = Field(None, ge=1, lt=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None

    @property
    def chat(self) -> Sequence[ChatMessage]:
        """Role and text of each message, the oldest first."""
        return [{"role": message.role, "content": message.content} for message in self.messages]

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of the answer; the newer name counts."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int | None:
        """See the base class."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def grammar(self) -> str | None:
        """The grammar of the response format."""
        return None if self.response_format is None else self.response_format.grammar

    @field_validator("response_format")
    @classmethod
    def _check_format(cls, wanted: ResponseFormat | None, info: ValidationInfo) -> ResponseFormat | None:
        if wanted is not None and wanted.grammar is not None and info.data.get("ignore_eos"):
            raise ValueError("not with ignore_eos: its grammar ends the answer")
        return wanted

    @field_validator("top_logprobs")
    @classmethod
    def _check_alternatives(cls, alternatives: int | None, info: ValidationInfo) -> int | None:
        if alternatives is not None and not info.data.get("logprobs"):
            raise ValueError("only with logprobs: true")
        return alternatives


class Alternative(BaseModel):
    """A token that may have been drawn. Its ``bytes`` may be a part of a character."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    token: str
    logprob: float
    values: list[int] = Field(alias="bytes")

    @classmethod
    def of(cls, token: bytes, logprob: float) -> "Alternative":
        """The token that stands for these bytes."""
        return cls(token=token.decode(errors="replace"), logprob=logprob, values=list(token))


class TokenLogprob(Alternative):
    """A token that was drawn, and the most likely ones at its place."""

    top_logprobs: list[Alternative]


class Logprobs(BaseModel):
    """The log-probabilities of an answer's tokens."""

    content: list[TokenLogprob]

    @classmethod
    def of(cls, tokens: Sequence[TokenLogProbability]) -> "Logprobs":
        """Those of ``tokens``."""
        return cls(
            content=[
                TokenLogprob(
                    **Alternative.of(token.token, token.logprob).model_dump(by_alias=False),
                    top_logprobs=[Alternative.of(other, logprob) for other, logprob in token.alternatives],
                )
                for token in tokens
            ]
        )


class AnswerMessage(BaseModel):
    """The message of an answer."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """An answer; ``index`` counts the answers to a request from 0."""

    index: int = 0
    message: AnswerMessage
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"]

    @classmethod
    def of(cls, index: int, completion: Completion, with_logprobs: bool) -> "Choice":
        """The answer that ``completion`` is."""
        return cls(
            index=index,
            message=AnswerMessage(content=completion.text),
            logprobs=Logprobs.of(completion.token_logprobs) if with_logprobs else None,
            finish_reason="stop" if completion.stopped else "length",
        )


class ChatResponse(BaseModel):
    """The answer to a :class:`ChatRequest`.

    ``logprobs_summary`` is the testbed's own, of a single choice. The API's ``logprobs`` is a list with an entry for
    each token, many times as long as the answer. ``system_fingerprint`` is that of the model that answered.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1)
    usage: Usage
    system_fingerprint: str | None = None
    logprobs_summary: LogProbabilities | None = None

    @classmethod
    def of(cls, completions: Sequence[Completion], request: ChatRequest, job: str, model: str) -> "ChatResponse":
        """The response that carries ``completions`` of one chat."""
        wanted = request.alternatives is not None
        return cls(
            id=job,
            created=unix_time(),
            model=model,
            choices=[Choice.of(index, completion, wanted) for index, completion in enumerate(completions)],
            usage=Usage.of(completions, len(completions)),
            system_fingerprint=completions[0].model or None,
            logprobs_summary=completions[0].logprobs if len(completions) == 1 else None,
        )

    @property
    def completion(self) -> Completion:
        """What the response carries, of a single choice."""
        (choice, *_), usage = self.choices, self.usage
        return Completion(
            choice.message.content,
            usage.prompt_tokens,
            usage.completion_tokens,
            choice.finish_reason == "stop",
            self.logprobs_summary,
            model=self.system_fingerprint or "",
        )


class Delta(BaseModel):
    """What an answer has grown by."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """One answer's part of a :class:`ChatChunk`."""

    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class ChatChunk(BaseModel):
    """A part of a streamed answer. The last one has no choices, and ``usage`` where it was asked for."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
