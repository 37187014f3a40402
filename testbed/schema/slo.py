"""Service-level objectives: what a prompt's answer must keep to count for goodput."""

from pydantic import Field, model_validator

from testbed.core.spec import Spec
from testbed.core.units import Duration


class ServiceLevel(Spec):
    """Objectives of each prompt. One that is left out is kept by every answer."""

    ttft: Duration | None = Field(None, gt=0, description="time to first token: from arrival to the answer's first one")
    tpot: Duration | None = Field(None, gt=0, description="time per output token of the call that wrote the answer")
    latency: Duration | None = Field(None, gt=0, description="from a prompt's arrival to its answer")

    @model_validator(mode="after")
    def _has_an_objective(self) -> "ServiceLevel":
        if self.ttft is self.tpot is self.latency is None:
            raise ValueError("needs at least one of ttft, tpot and latency, like ttft: 500ms")
        return self

    def kept(self, ttft: float | None, tpot: float | None, latency: float) -> bool:
        """Whether an answer keeps all objectives, in seconds. An answer of one token has no time per output token."""
        return (
            (self.ttft is None or (ttft is not None and ttft <= self.ttft))
            and (self.tpot is None or tpot is None or tpot <= self.tpot)
            and (self.latency is None or latency <= self.latency)
        )
