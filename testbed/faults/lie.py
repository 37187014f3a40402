"""Wrong answers, said with confidence."""

from typing import Annotated, ClassVar

from pydantic import Field

from testbed.core.spec import matching
from testbed.faults.base import AnswerFault
from testbed.node.character.traits import Lying
from testbed.schema.network.topology import Topology


class Lie(AnswerFault):
    """A node answers with a decoy: a wrong but plausible answer, said with confidence. The decoy is the truth of
    another question on the same subject."""

    needs_truths: ClassVar[bool] = True

    collude: Annotated[str, *matching("[a-z0-9][a-z0-9-]*", "small letters, digits and hyphens, like ring")] | None = (
        Field(None, description="name of a group of liars that share their decoys; without one, a liar has its own")
    )

    @property
    def group(self) -> str:
        """The name of the liars that share decoys."""
        return f"the liar {self.node}" if self.collude is None else f"the group {self.collude}"

    def trait(self, topology: Topology) -> Lying:
        """The decoys are in the node from its start."""
        del topology
        return Lying(share=self.share, group=self.group)
