"""Answers whose letters are wrong."""

from testbed.faults.base import AnswerFault
from testbed.node.character.traits import Garbling
from testbed.schema.network.topology import Topology


class Garble(AnswerFault):
    """A node's answers have random letters and digits in place of their own; spaces and punctuation stay."""

    def trait(self, topology: Topology) -> Garbling:
        del topology
        return Garbling(share=self.share)
