"""Old answers to new questions."""

from testbed.faults.base import AnswerFault
from testbed.node.character.traits import Resending
from testbed.schema.network.topology import Topology


class Resend(AnswerFault):
    """A node answers with one of its earlier answers, drawn from the last 32."""

    def trait(self, topology: Topology) -> Resending:
        del topology
        return Resending(share=self.share)
