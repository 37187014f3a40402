"""Every node answers its own prompts with its own model, and asks nobody."""

from collections.abc import Mapping, Sequence

from testbed.patterns.base import Loads, Pattern
from testbed.patterns.participant import Call, Participant, Prompt, Surroundings


class Alone(Pattern):
    """Every node answers its own prompts with its own model, and asks nobody."""

    def calls(self, owner: Surroundings) -> tuple[int, int]:
        """One for each prompt."""
        del owner
        return 1, 1

    def load(self, neighbours: Mapping[str, Sequence[str]]) -> Loads:
        """One at each node."""
        return {node: {"answer": 1.0} for node in neighbours}

    async def answer(self, prompt: Prompt, owner: Participant) -> str:
        """What the owner's model says; raises JobError."""
        return (await owner.complete(Call.of(prompt.text))).text
