"""Frozen processes."""

from typing import Any

from testbed.faults.base import ConditionFault


class Pause(ConditionFault):
    """A node's processes are frozen (cgroup freezer). Its kernel still receives packets and answers pings. Afterwards
    the processes continue where they were."""

    def condition(self) -> dict[str, Any]:
        """All processes are frozen."""
        return {"paused": True}
