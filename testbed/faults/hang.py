"""A stopped agent."""

from typing import Any

from testbed.faults.base import ConditionFault


class Hang(ConditionFault):
    """A node's agent is stopped (SIGSTOP) with its sockets open: the kernel accepts connections, and no request is
    answered."""

    def condition(self) -> dict[str, Any]:
        """The agent is stopped."""
        return {"hanging": True}
