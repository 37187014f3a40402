"""The testbed's own requests between nodes: verifications and delegations."""

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from testbed.node.openai.chats import ChatRequest
from testbed.patterns.participant import Budget, ChatMessage, Prompt, Tier, Verification

_Token = Annotated[int, Field(ge=0, lt=2**31)]


class VerificationRequest(ChatRequest):
    """``POST /v1/verifications``: how much of the answer ``tokens`` the node's model would have written itself.

    ``model`` wrote the draft, and ``vocabulary`` is its :attr:`~testbed.node.engine.chat.Chat.vocabulary`.
    """

    tokens: list[_Token] = Field(min_length=1)
    vocabulary: str

    @model_validator(mode="after")
    def _check(self) -> "VerificationRequest":
        """Refuse what is of answers alone: there is none."""
        for name in ("n", "stop", "stream", "logprobs", "response_format"):
            if getattr(self, name):
                raise ValueError(f"a verification has no {name}")
        return self


class ContinuationRequest(ChatRequest):
    """A call of a node to its own model, for an answer that begins with ``begun``. No other node can ask for it."""

    begun: list[_Token] = Field(min_length=1)


class VerificationResponse(BaseModel):
    """The answer to a :class:`VerificationRequest`. ``next`` is null where the model ends its answer."""

    accepted: int
    next: int | None = None
    prompt_tokens: int

    @classmethod
    def of(cls, verification: Verification) -> "VerificationResponse":
        """The response that carries ``verification``."""
        return cls(accepted=verification.accepted, next=verification.next, prompt_tokens=verification.prompt_tokens)

    @property
    def verification(self) -> Verification:
        """What the response carries."""
        return Verification(self.accepted, self.next, self.prompt_tokens)


class CountRequest(ChatRequest):
    """``POST /tokenize``, as in vLLM: how many tokens a chat has."""


class CountResponse(BaseModel):
    """The answer to a :class:`CountRequest`. Where ``count`` exceeds the context, it is a lower bound."""

    count: int
    max_model_len: int


class DelegationRequest(BaseModel):
    """``POST /v1/delegations``: the answer that the node finds to ``text`` with its own pattern.

    ``before`` is the chat that leads to ``text``, ``allowed`` are the only answers that a model may give, if any,
    and ``tokens`` is how many an answer has, if that is said.
    """

    text: str
    budget: Budget = Budget()
    privacy: Tier | None = None
    visited: tuple[str, ...] = Field(min_length=1)
    before: tuple[ChatMessage, ...] = ()
    allowed: tuple[str, ...] = ()
    tokens: int | None = None

    def prompt(self, name: str) -> Prompt:
        """The prompt that is delegated under ``name``."""
        return Prompt(
            name,
            self.text,
            self.budget,
            self.privacy,
            self.visited,
            before=self.before,
            allowed=self.allowed,
            tokens=self.tokens,
        )


class DelegationResponse(BaseModel):
    """The answer to a :class:`DelegationRequest`."""

    text: str
