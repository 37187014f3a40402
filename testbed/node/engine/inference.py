"""What completes chats in a node: a model of its own, or the ring that it is part of."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from testbed.node.engine.chat import ChatMessage
from testbed.node.engine.model import Completion, Sampling


class Inference(Protocol):
    """Takes jobs from whoever asks the node."""

    async def complete(
        self, job: str, messages: Sequence[ChatMessage], sampling: Sampling, origin: Mapping[str, str]
    ) -> Completion:
        """What comes of a job; ``origin`` is traced with it. Raises JobError."""

    async def serve(self) -> None:
        """Work for ever."""

    async def ready(self) -> None:
        """Wait until jobs can be done; the network stands."""
