"""A node dies."""

from typing import Any

from testbed.faults.base import ConditionFault


class Kill(ConditionFault):
    """A node ends at once (SIGKILL), as without power: what it held in memory is gone. With `for:` it is started again
    then; at the end of play it is not."""

    outlives_play = True

    @property
    def ends(self) -> str | None:
        """The node."""
        return self.node

    def condition(self) -> dict[str, Any]:
        """Not running."""
        return {"running": False}
