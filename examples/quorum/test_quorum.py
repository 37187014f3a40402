import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from testbed.patterns.base import PATTERNS
from testbed.patterns.participant import Call, Completion, JobError, Peer, Prompt

QUORUM = f"{Path(__file__).with_name('quorum.py')}:Quorum"


class Owner:
    """Node ``a`` with peers whose answers are known; a node whose answer is None never ends."""

    name = "a"

    def __init__(self, answers: dict[str, str | None]) -> None:
        self.answers = answers
        self.peers: Sequence[Peer] = [Peer(name) for name in answers if name != "a"]
        self.cancelled: list[str] = []

    def random(self, *names: object) -> random.Random:
        return random.Random(str(names))

    async def complete(self, _call: Call, at: Peer | None = None, _timeout: float | None = None) -> Completion:
        node = at.name if at else self.name
        answer = self.answers[node]
        try:
            await (asyncio.Event().wait() if answer is None else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cancelled.append(node)
            raise
        if answer == "":
            raise JobError("no answer")
        return Completion(str(answer), prompt_tokens=1, tokens=1, stopped=True)


def answer(answers: dict[str, str | None], votes: int = 2) -> tuple[str, list[str]]:
    """What wins, and the nodes whose calls were cancelled."""
    owner = Owner(answers)
    pattern = PATTERNS.get(QUORUM).model_validate({"kind": QUORUM, "voters": len(answers) - 1, "votes": votes})
    return asyncio.run(pattern.answer(Prompt("p1", "?"), owner)), owner.cancelled  # type: ignore[arg-type]


def test_two_equal_answers_win_and_the_other_call_is_cancelled() -> None:
    assert answer({"a": "Rome, sure", "b": "Rome, maybe", "c": None}) == ("Rome", ["c"])


def test_nodes_that_fail_do_not_vote() -> None:
    assert answer({"a": "", "b": "Rome", "c": "Oslo", "d": "Oslo"})[0] == "Oslo"


def test_a_prompt_fails_if_every_node_does() -> None:
    with pytest.raises(JobError, match="no voter answered"):
        answer({"a": "", "b": ""})
