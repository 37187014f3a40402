"""The hosts of a cluster as campaigns see them."""

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Protocol


class Hosts(Protocol):
    """The hosts of a cluster. Each has a key of its own; names may fall together."""

    def present(self) -> Mapping[str, str]:
        """The names of the hosts that can play now, by key."""

    def executor(self, host: str) -> Executor:
        """Executes functions of :mod:`.remote` on a host, where one run is played at a time."""

    def stop(self, campaign: str) -> set[str]:
        """Interrupt what the hosts play of a campaign; returns those that do. They play no further run of it."""
