"""A link goes down and up again and again."""

from collections.abc import Iterator

from pydantic import Field, model_validator

from testbed.faults.fault import LinkFault, Phase
from testbed.faults.targets import change_link
from testbed.spec.link import WAYS
from testbed.spec.topology import Topology
from testbed.units import Duration


class Flap(LinkFault):
    """A link is cut in both directions again and again: first for `cut`, then whole until `every` has passed."""

    cut: Duration = Field(gt=0, description="how long it is cut each time")
    every: Duration = Field(description="from one cut to the next; longer than `cut`")

    @model_validator(mode="after")
    def _fits(self) -> "Flap":
        if self.every <= self.cut:
            raise ValueError("`every` must be longer than `cut`, or the link is never whole")
        return self

    def phases(self, topology: Topology) -> Iterator[Phase]:
        """Two in turn, without end."""
        del topology
        cut = change_link(self.link, {way: {"cut": True} for way in WAYS})
        while True:
            yield Phase([cut], self.cut)
            yield Phase([], self.every - self.cut)
