"""Options that all patterns share: `queue`, `chat`, `retry` and `membership` of a scenario.

docs/protocol.md explains them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from testbed.core.units import Duration


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class QueueOptions(_Options):
    """The bound on a node's queue."""

    limit: int = Field(1024, ge=1, description="most jobs in a node's queue, the running one included")
    overflow: Literal["reject", "drop-oldest"] = Field(
        "reject", description="what a full queue does: refuse the new job, or drop the job that has waited longest"
    )


class ChatOptions(_Options):
    """What a node makes of the chats that its model completes."""

    system: str = Field("", description="system message of every chat that has none of its own")
    template: str | None = Field(
        None, description="in place of the model's own: text with {input}, for base models, or Jinja over `messages`"
    )
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] = Field(
        (), description="texts that end every answer, before those of its request"
    )


class RetryOptions(_Options):
    """Repeated requests for one answer. Each attempt gets an equal share of the time that is left."""

    attempts: int = Field(3, ge=1, le=10, description="most requests for one answer, the first included")
    backoff: Duration = Field(0.1, description="mean pause before the second attempt; doubles before each further one")


class MembershipOptions(_Options):
    """Heartbeats by SWIM (Das, Gupta, Motivala, DSN 2002), with its terms in brackets."""

    period: Duration = Field(1.0, gt=0, description="a node pings one neighbour in each (protocol period)")
    timeout: Duration = Field(0.3, gt=0, description="silence after which other nodes are asked to ping it as well")
    helpers: int = Field(3, ge=0, description="how many other nodes are asked (size of the failure detection subgroup)")
    suspicion: Duration = Field(3.0, gt=0, description="time in which a suspected neighbour must show that it lives")

    @model_validator(mode="after")
    def _check(self) -> "MembershipOptions":
        if self.timeout >= self.period:
            raise ValueError("`timeout` must be shorter than `period`: the others' pings need the rest of it")
        return self
