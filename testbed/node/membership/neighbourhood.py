"""The neighbours that a node can call: all of its configuration, or those whose heartbeats it hears."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol


class Neighbourhood(Protocol):
    """A node's view of its neighbours."""

    def begin(self) -> None:
        """Begin to watch: the network stands."""

    def present(self) -> Sequence[str]:
        """The names of the neighbours that can be called, in the order of the configuration."""

    def suspect(self, neighbour: str) -> None:
        """Record that a neighbour did not answer a request."""

    async def gone(self, neighbour: str) -> None:
        """Wait until a neighbour is lost."""


class Everyone:
    """A view in which every neighbour is always present. It sends nothing."""

    def __init__(self, neighbours: Iterable[str]) -> None:
        self._neighbours = list(neighbours)

    def begin(self) -> None:
        """Nothing to begin: every neighbour counts as present."""

    def present(self) -> Sequence[str]:
        """Every neighbour."""
        return self._neighbours

    def suspect(self, neighbour: str) -> None:
        """Do nothing: the neighbour may answer the next request."""

    async def gone(self, neighbour: str) -> None:  # noqa: ARG002
        """Wait for ever: a loss is never noticed."""
        await asyncio.Event().wait()
