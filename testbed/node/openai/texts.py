"""Text completions: a model continues a text as it stands, without its chat template.

Source: the API reference, "Create completion".
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field

from testbed.node.openai.date import unix_time
from testbed.node.openai.generation import MOST_CHOICES, GenerationRequest, Usage
from testbed.patterns.participant import ChatMessage, Completion, PlainText, TokenLogProbability


class TextRequest(GenerationRequest):
    """``POST /v1/completions``. Several texts are continued each for itself."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_CHOICES)]
    logprobs: int | None = Field(None, ge=0, le=5)

    @property
    def chat(self) -> Sequence[ChatMessage]:
        """The text of a request with one."""
        text, *_ = self._texts
        return PlainText.of(text)

    @property
    def alternatives(self) -> int | None:
        """See the base class."""
        return self.logprobs

    def single(self) -> list[Self]:
        """See the base class. All completions of one text follow each other."""
        texts = [self.model_copy(update={"prompt": text}) for text in self._texts]
        return [request._numbered(number) for request in texts for number in range(self.n or 1)]

    @property
    def _texts(self) -> list[str]:
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class TextLogprobs(BaseModel):
    """The log-probabilities of an answer's tokens, in this API's older form."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]

    @classmethod
    def of(cls, tokens: Sequence[TokenLogProbability]) -> "TextLogprobs":
        """Those of ``tokens``."""
        texts = [token.token.decode(errors="replace") for token in tokens]
        return cls(
            tokens=texts,
            token_logprobs=[token.logprob for token in tokens],
            top_logprobs=[
                {other.decode(errors="replace"): logprob for other, logprob in token.alternatives} for token in tokens
            ],
            text_offset=[sum(map(len, texts[:number])) for number in range(len(texts))],
        )


class TextChoice(BaseModel):
    """One answer, or what it has grown by."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Literal["stop", "length"] | None

    @classmethod
    def of(cls, index: int, completion: Completion, with_logprobs: bool) -> "TextChoice":
        """The answer that ``completion`` is."""
        return cls(
            index=index,
            text=completion.text,
            logprobs=TextLogprobs.of(completion.token_logprobs) if with_logprobs else None,
            finish_reason="stop" if completion.stopped else "length",
        )


class TextResponse(BaseModel):
    """The answer to a :class:`TextRequest`, or a part of a streamed one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None

    @classmethod
    def of(cls, completions: Sequence[Completion], request: TextRequest, job: str, model: str) -> "TextResponse":
        """The response that carries ``completions``."""
        wanted = request.alternatives is not None
        return cls(
            id=job,
            created=unix_time(),
            model=model,
            choices=[TextChoice.of(index, completion, wanted) for index, completion in enumerate(completions)],
            usage=Usage.of(completions, request.n or 1),
        )
