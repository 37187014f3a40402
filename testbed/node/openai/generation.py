"""What requests for chat completions and for text completions have in common.

What a node does not support is refused by its name. Fields that ask for nothing, like ``tools: []`` or ``n: null``, are
accepted from clients that always send them.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from testbed.patterns.participant import ChatMessage, Completion

MOST_CHOICES: Final = 16
"""The most completions that one request may ask for."""

_NAMES: Final = ("user", "safety_identifier", "prompt_cache_key")  # of whoever asks: nothing depends on them
_ASKING_NOTHING: Final[dict[str, tuple[Any, ...]]] = {
    "audio": (None,),
    "best_of": (None, 1),
    "echo": (None, False),
    "frequency_penalty": (None, 0),
    "function_call": (None, "none"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "parallel_tool_calls": (None, False, True),
    "prediction": (None,),
    "presence_penalty": (None, 0),
    "reasoning_effort": (None,),
    "service_tier": (None, "auto", "default"),
    "store": (None, False),
    "suffix": (None, ""),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "verbosity": (None,),
    "web_search_options": (None,),
}

_StopText = Annotated[str, Field(min_length=1, max_length=256)]
_Metadata = dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]]


class StreamOptions(BaseModel):
    """``stream_options``."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class GenerationRequest(BaseModel):
    """``metadata`` names the prompt that the request serves, for the event log."""

    model_config = ConfigDict(extra="forbid")

    model: str = ""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1, lt=2**31)
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    stop: _StopText | Annotated[list[_StopText], Field(max_length=16)] | None = None
    ignore_eos: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: Annotated[_Metadata, Field(max_length=16)] | None = None

    @property
    @abstractmethod
    def chat(self) -> Sequence[ChatMessage]:
        """What the model is to continue."""

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of the answer."""
        return self.max_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def alternatives(self) -> int | None:
        """The number of most likely tokens to tell at each place; None if no log-probabilities are wanted."""
        return None

    @property
    def grammar(self) -> str | None:
        """The grammar of the answer, in GBNF."""
        return None

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def single(self) -> list[Self]:
        """This request as requests for one completion each; their seeds differ."""
        return [self._numbered(number) for number in range(self.n or 1)]

    def _numbered(self, number: int) -> Self:
        seed = None if self.seed is None else self.seed + number
        return self.model_copy(update={"n": None, "seed": seed, "stream": None, "stream_options": None})

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        return {
            name: value
            for name, value in written.items()
            if name in cls.model_fields or not (name in _NAMES or value in _ASKING_NOTHING.get(name, ()))
        }

    @field_validator("ignore_eos")
    @classmethod
    def _check_ignored(cls, ignored: bool | None, info: ValidationInfo) -> bool | None:
        if ignored and info.data.get("stop"):
            raise ValueError("not with stop, which ends the answer")
        return ignored

    @field_validator("stream_options")
    @classmethod
    def _check_stream(cls, options: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if options is not None and not info.data.get("stream"):
            raise ValueError("only with stream: true")
        return options


class Usage(BaseModel):
    """Numbers of tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, completions: Sequence[Completion], copies: int) -> "Usage":
        """The sums. Of ``copies`` completions of one text that follow each other, the text counts once."""
        read = sum(completion.prompt_tokens for completion in completions[::copies])
        written = sum(completion.tokens for completion in completions)
        return cls(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
