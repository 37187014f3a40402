"""Which neighbours a node counts on: all of its configuration, or those whose heartbeats it hears."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol


class Neighbourhood(Protocol):
    """The neighbours of a node, as it sees them."""

    def begin(self) -> None:
        """The network stands."""

    def present(self) -> Sequence[str]:
        """The names of those that can be asked, in the order of the configuration."""

    def suspect(self, neighbour: str) -> None:
        """Take note that a neighbour did not answer."""

    async def gone(self, neighbour: str) -> None:
        """Wait until a neighbour is lost."""


class Everyone:
    """All neighbours, whatever they do: nothing is sent to know more."""

    def __init__(self, neighbours: Iterable[str]) -> None:
        self._neighbours = list(neighbours)

    def begin(self) -> None:
        """Nothing begins."""

    def present(self) -> Sequence[str]:
        """Every neighbour."""
        return self._neighbours

    def suspect(self, neighbour: str) -> None:
        """It may answer the next time."""

    async def gone(self, neighbour: str) -> None:  # noqa: ARG002
        """It is never known to be."""
        await asyncio.Event().wait()
