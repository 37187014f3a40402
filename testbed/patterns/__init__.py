"""How nodes work together on a prompt: one file per pattern, with its schema and what it does.

A pattern's logic runs in the agents, so this package needs nothing but pydantic. To add a pattern, write its file
and list it in :data:`Pattern`.
"""

from testbed.patterns.gossip_moa import GossipMoa

Pattern = GossipMoa
"""The ``pattern:`` of a scenario."""

__all__ = ["GossipMoa", "Pattern"]
