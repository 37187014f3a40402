"""The sudden end of a node."""

from typing import Any

from testbed.faults.base import ConditionFault


class Kill(ConditionFault):
    """A node ends at once (SIGKILL) and loses its memory, as in a power failure. With `for:` it is started again after
    that time; at the end of play it is not."""

    outlives_play = True

    @property
    def ends(self) -> str | None:
        """The node is down while the fault is active."""
        return self.node

    def condition(self) -> dict[str, Any]:
        """The node is down."""
        return {"running": False}
