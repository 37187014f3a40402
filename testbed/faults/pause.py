"""A node stands still."""

from typing import Any

from testbed.faults.base import ConditionFault


class Pause(ConditionFault):
    """A node's processes are frozen (the freezer of its cgroup). Its kernel still takes packets in, and answers pings;
    when it is over, the node goes on where it was."""

    def condition(self) -> dict[str, Any]:
        """Frozen."""
        return {"paused": True}
