"""The options of ``random``: which faults the seed of a run draws, how many, and how long they last."""

import random
from collections.abc import Iterator
from typing import Final

from pydantic import Field, model_validator

from testbed.core.spec import Spec
from testbed.core.units import Duration, Rate
from testbed.schema.fault import FAULTS
from testbed.schema.network.topology import Topology
from testbed.schema.reading.explain import Mistake
from testbed.schema.timeline.triggers import Extent

_MOST_DRAWN: Final = 200  # faults of one `random`; with more of them, some fault is active at every moment


class RandomFaults(Spec):
    """Options of random faults. :func:`testbed.schema.timeline.random_faults.drawn` draws from the seed of the run."""

    faults: list[str] = Field(
        default_factory=FAULTS.names,
        min_length=1,
        description="kinds that are drawn from, each with the same probability",
    )
    rate: Rate = Field(description="mean number of faults that begin in a time; a Poisson process")
    shortest: Duration = Field(0.5, gt=0, description="shortest duration of a fault")
    longest: Duration = Field(5.0, gt=0, description="longest duration of a fault")

    @model_validator(mode="after")
    def _check(self) -> "RandomFaults":
        if self.shortest > self.longest:
            raise ValueError("`shortest` must be at most `longest`")
        return self

    def mistakes(self, extent: Extent) -> Iterator[Mistake]:
        """Unknown kinds, kinds without a possible target in this topology, and a rate that is too high."""
        unknown = [(index, kind) for index, kind in enumerate(self.faults) if kind not in FAULTS]
        for index, kind in unknown:
            yield ("faults", index), f"there is no fault {kind!r}; known are {', '.join(FAULTS.names())}"
        if not unknown and not self.possible(extent.topology):
            yield ("faults",), "this topology has no target for any of these; name other kinds"
        if (expected := self.rate * extent.seconds) > _MOST_DRAWN:
            yield (
                ("rate",),
                f"would draw about {expected:.0f} faults; let it be no more than {_MOST_DRAWN}, by a lower rate",
            )

    def possible(self, topology: Topology) -> list[str]:
        """The kinds that have a possible target in ``topology``."""
        chance = random.Random(0)
        return [kind for kind in self.faults if kind in FAULTS and FAULTS.get(kind).draw(topology, chance) is not None]
