"""The part of the OpenAI chat-completions API that a node speaks.

Source: the API reference, "Create chat completion". Other fields of a request are ignored, as clients send many; a
stream and several choices, for which the response would have another form, are refused.
"""

import time
from typing import Literal

from pydantic import BaseModel, Field

from testbed.node.engine.model import Completion


class ChatMessage(BaseModel):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(BaseModel):
    """``POST /v1/chat/completions``. ``metadata`` carries the ids that join a run's traces."""

    messages: list[ChatMessage] = Field(min_length=1)
    model: str = ""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    seed: int | None = None
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    metadata: dict[str, str] | None = None


class Choice(BaseModel):
    """A node gives one."""

    index: int = 0
    message: ChatMessage
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatResponse(BaseModel):
    """The answer to a :class:`ChatRequest`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1)
    usage: Usage

    @classmethod
    def of(cls, completion: Completion, job: str, model: str) -> "ChatResponse":
        """The response that carries ``completion``."""
        return cls(
            id=job,
            created=int(time.time()),
            model=model,
            choices=[
                Choice(
                    message=ChatMessage(role="assistant", content=completion.text),
                    finish_reason="stop" if completion.stopped else "length",
                )
            ],
            usage=Usage(
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.tokens,
                total_tokens=completion.prompt_tokens + completion.tokens,
            ),
        )


class ErrorDetail(BaseModel):
    """What is wrong, and whose fault it is: ``invalid_request_error`` is the client's, ``server_error`` is not."""

    message: str
    type: str


class ErrorResponse(BaseModel):
    """What is answered in place of a :class:`ChatResponse`."""

    error: ErrorDetail
