"""Chat completions.

Source: the API reference, "Create chat completion". Other fields of a request are ignored, as clients send many. A
stream and several choices are refused, since their responses have another form.
"""

import time
from typing import Literal

from pydantic import BaseModel, Field

from testbed.patterns.participant import ChatMessage, Completion, LogProbabilities


class ChatRequest(BaseModel):
    """``POST /v1/chat/completions``. ``metadata`` names the prompt that the request serves, for the event log."""

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
    """The one choice of a :class:`ChatResponse`."""

    index: int = 0
    message: ChatMessage
    finish_reason: Literal["stop", "length"]


class Usage(BaseModel):
    """Numbers of tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatResponse(BaseModel):
    """The answer to a :class:`ChatRequest`.

    ``logprobs_summary`` is the testbed's own. The API's ``logprobs`` is a list with an entry for each token, many times
    as long as the answer.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice] = Field(min_length=1)
    usage: Usage
    logprobs_summary: LogProbabilities | None = None

    @classmethod
    def of(cls, completion: Completion, job: str, model: str) -> "ChatResponse":
        """The response that carries ``completion``."""
        return cls(
            id=job,
            created=int(time.time()),
            model=model,
            choices=[
                Choice(
                    message={"role": "assistant", "content": completion.text},
                    finish_reason="stop" if completion.stopped else "length",
                )
            ],
            usage=Usage(
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.tokens,
                total_tokens=completion.prompt_tokens + completion.tokens,
            ),
            logprobs_summary=completion.logprobs,
        )

    @property
    def completion(self) -> Completion:
        """What the response carries."""
        (choice, *_), usage = self.choices, self.usage
        return Completion(
            choice.message["content"],
            usage.prompt_tokens,
            usage.completion_tokens,
            choice.finish_reason == "stop",
            self.logprobs_summary,
        )
