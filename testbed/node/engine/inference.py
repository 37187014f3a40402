"""What a node completes chats with: a model of its own, or the ring that it is part of."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from testbed.node.engine.model import OnText, Sampling
from testbed.patterns.participant import ChatMessage, Completion, Verification


class Inference(Protocol):
    """Takes jobs. The name of a job is unique among those that have not ended."""

    async def complete(
        self,
        job: str,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        origin: Mapping[str, str],
        on_text: OnText = ...,
    ) -> Completion:
        """The next message of a chat. ``origin`` is traced with the job. Raises JobError.

        ``on_text`` is told the text as it grows, from whatever thread.
        """

    async def verify(
        self,
        job: str,
        messages: Sequence[ChatMessage],
        draft: Sequence[int],
        sampling: Sampling,
        origin: Mapping[str, str],
    ) -> Verification:
        """How much of ``draft`` the model would have written itself; raises JobError."""

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Raise JobError at once for a chat that is too long by its mere length, or that its template refuses."""

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """The number of a chat's tokens, at least where they exceed the context; raises JobError. From every thread."""

    def cancel(self, job: str, reason: str) -> bool:
        """Take a job out of the queue, which ends with NotDoneError; False if it has begun or is not there."""

    def abandon(self, job: str) -> None:
        """End a job that nobody can ask for any more, also if it has begun."""

    def vocabulary(self) -> str:
        """Equal for two models that number the same tokens alike; raises JobError where there is none to compare."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says; raises JobError where no tokens are handed out."""

    async def serve(self) -> None:
        """Take jobs and complete them until the task is cancelled."""

    async def ready(self) -> None:
        """Wait until jobs can be done. To be called once the network stands."""
