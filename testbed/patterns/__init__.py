"""How nodes work together on a prompt: one file per pattern, with its schema and what it does.

A pattern's logic runs in the agents, so this package needs nothing but pydantic. To add a pattern, write its file
and list it in :data:`Pattern`.
"""

from typing import Annotated

from pydantic import Field

from testbed.patterns.gossip_moa import GossipMoa
from testbed.patterns.pipeline import Pipeline

Pattern = Annotated[GossipMoa | Pipeline, Field(discriminator="kind")]
"""The ``pattern:`` of a scenario."""

__all__ = ["GossipMoa", "Pattern", "Pipeline"]
