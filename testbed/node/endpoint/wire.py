"""What passes between an agent, the companion on the host and a foreign server: the OpenAI API's chat completions."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PATH: Final = "/chat/completions"
"""The one path, both of the companion and below the server's base URL."""

LARGEST_REQUEST: Final = 4 * 2**20
LARGEST_RESPONSE: Final = 16 * 2**20
"""Bytes. A request that is larger is refused, a response is cut off."""

DATA: Final = b"data:"
"""Begins every line of a stream that carries something."""

DONE: Final = b"[DONE]"

Failure = Literal[
    "budget", "unreachable", "stalled", "broken_off", "redirected", "too_large", "rate_limited", "refused", "failed"
]
"""Why a server gave no completion. ``refused`` is an answer 4xx, ``failed`` 5xx or one that makes no sense."""

OF_COMPANION: Final[tuple[Failure, ...]] = (
    "budget",
    "unreachable",
    "stalled",
    "broken_off",
    "redirected",
    "too_large",
    "refused",
    "failed",
)
"""Failures that the companion names by the ``code`` of an error."""


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RemoteMessage(_Sent):
    """A message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class StreamOptions(_Sent):
    """Asks for the numbers of tokens at the end of a stream."""

    include_usage: Literal[True] = True


class RemoteRequest(_Sent):
    """All that a server is ever asked."""

    model: str
    messages: Annotated[list[RemoteMessage], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    temperature: float
    top_p: float
    seed: int
    stop: list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


class _Received(BaseModel):
    """Servers add fields of their own."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Usage(_Received):
    """Tokens read and written."""

    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]


class Content(_Received):
    """A text, or what one has grown by."""

    content: str | None = None


class Alternative(_Received):
    """A token and its log-probability. ``bytes`` is null where the server does not tell."""

    token: str
    logprob: float
    values: list[int] | None = Field(None, alias="bytes")

    @property
    def piece(self) -> bytes:
        """The bytes that the token stands for."""
        return self.token.encode(errors="surrogatepass") if self.values is None else bytes(self.values)


class TokenLogprob(Alternative):
    """A token that was drawn."""

    top_logprobs: list[Alternative] = []


class Logprobs(_Received):
    """The log-probabilities of tokens."""

    content: list[TokenLogprob] | None = None


class Choice(_Received):
    """An answer: a whole one has a ``message``, a part of one a ``delta``."""

    message: Content | None = None
    delta: Content | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None

    @property
    def text(self) -> str:
        """The text that it carries."""
        carrier = self.message or self.delta
        return (carrier and carrier.content) or ""


class RemoteError(_Received):
    """An error. ``code`` is a :data:`Failure` where the companion wrote it."""

    message: str = "an error without a message"
    code: Annotated[str | None, BeforeValidator(lambda code: None if code is None else str(code))] = None


class Part(_Received):
    """A response, a part of a streamed one, or an error in the place of either."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: RemoteError | None = None

    @classmethod
    def of(cls, written: bytes) -> "Part":
        """The part that a body or a line's data spells; raises ValueError with one line."""
        try:
            return cls.model_validate_json(written)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"the server's response makes no sense: {where} {first['msg']}".strip()) from None


def failure(code: Failure, message: str) -> dict[str, Any]:
    """The body of an error that the companion writes."""
    return {"error": {"message": message, "type": "endpoint_error", "code": code}}


async def lines_of(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The lines in a stream of bytes, each with its end, as they become whole; at last what has no end."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
