"""An agent hangs."""

from typing import Any

from testbed.faults.base import ConditionFault


class Hang(ConditionFault):
    """A node's agent is stopped (SIGSTOP) with its sockets open: connections to it come about, and nobody answers."""

    def condition(self) -> dict[str, Any]:
        """Stopped."""
        return {"hanging": True}
