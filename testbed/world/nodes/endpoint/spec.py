"""What a topology says of an endpoint: somebody else's OpenAI-compatible server behind an emulated link."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from testbed.core.spec import Spec
from testbed.core.units import Duration
from testbed.schema.network.node import AgentNode
from testbed.world.nodes.endpoint.address import BaseUrl

_KEY = "env:[A-Za-z_][A-Za-z0-9_]*"
_REQUESTS = re.compile(r"(\d+) requests?")


def _check_url(text: str) -> str:
    return BaseUrl.parse(text).text


def _check_key(written: str) -> str:
    if not re.fullmatch(_KEY, written):  # which is not repeated here: it may be the key itself
        raise ValueError("a key is no part of a file; write env: and the name of a variable, like env:API_KEY")
    return written


KeyReference = Annotated[str, AfterValidator(_check_key), WithJsonSchema({"type": "string", "pattern": f"^{_KEY}$"})]


class Budget(Spec):
    """What a run may spend at the server; ``200 requests`` is short for a number of requests."""

    requests: int | None = Field(None, ge=1, description="most requests, the one before play included")
    money: float | None = Field(None, gt=0, allow_inf_nan=False, description="most money, in the currency of `price`")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, written: Any) -> Any:
        if not isinstance(written, str):
            return written
        if (found := _REQUESTS.fullmatch(written)) is None:
            raise ValueError(f"{written!r} is no budget; write it like 200 requests, or {{requests: 200, money: 2.5}}")
        return {"requests": int(found[1])}

    @model_validator(mode="after")
    def _check(self) -> "Budget":
        if self.requests is None and self.money is None:
            raise ValueError("a budget needs `requests` or `money`")
        return self


class EndpointNode(AgentNode):
    """An agent whose model is a foreign server's."""

    endpoint: Annotated[str, AfterValidator(_check_url)] = Field(
        description="the server's base URL, like https://api.example/v1 or http://127.0.0.1:8000/v1"
    )
    model: str = Field(min_length=1, description="what the server calls the model")
    context: int = Field(8192, ge=64, description="tokens that the model can attend to, by what its provider says")
    key: KeyReference | None = Field(
        None, description="where the server's key is found: env: and the name of a variable, like env:API_KEY"
    )
    budget: Budget | None = Field(None, description="what the run may spend, like 200 requests")
    patience: Duration = Field(60.0, gt=0, description="how long the server may be busy, or say nothing")
    logprobs: bool = Field(False, description="whether the server is asked for log-probabilities, which some refuse")

    @model_validator(mode="after")
    def _check(self) -> "EndpointNode":
        if self.key is not None:
            BaseUrl.parse(self.endpoint).check_secrecy()
        if self.budget is not None and self.budget.money is not None and self.price is None:
            raise ValueError("`budget` limits money, but nothing says what tokens cost; add `price`")
        return self

    @property
    def variable(self) -> str | None:
        """The name of the variable that holds the key."""
        return None if self.key is None else self.key.removeprefix("env:")
