import asyncio
from typing import Any

import pytest
from testbed_surest import Surest

from testbed.patterns.participant import Call, Completion, JobError, LogProbabilities, Peer, Prompt


class Owner:
    """Node ``a``, whose peer ``b`` knows better. A node without a mean log-probability fails."""

    peers = (Peer("b"), Peer("c"))

    def __init__(self, **means: float) -> None:
        self.means = means
        self.decisions: list[str] = []

    def decide(self, to: Peer, **_: Any) -> None:
        self.decisions.append(to.name)

    async def complete(self, _call: Call, at: Peer | None = None, _timeout: float | None = None) -> Completion:
        node = at.name if at else "a"
        if node not in self.means:
            raise JobError("no answer")
        return Completion(f"answer of {node}", 1, 1, True, LogProbabilities.of([self.means[node]]))


def answer(owner: Owner, steps: int = 3) -> str:
    pattern = Surest(kind="surest", threshold=-0.5, steps=steps)
    return asyncio.run(pattern.answer(Prompt("p1", "?"), owner))  # type: ignore[arg-type]


def test_a_sure_owner_calls_nobody() -> None:
    owner = Owner(a=-0.1, b=0.0)
    assert (answer(owner), owner.decisions) == ("answer of a", [])


def test_the_first_sure_node_ends_the_search() -> None:
    owner = Owner(a=-2.0, b=-0.2, c=-0.1)
    assert (answer(owner), owner.decisions) == ("answer of b", ["b"])


def test_the_surest_answer_counts_where_none_is_sure() -> None:
    assert answer(Owner(a=-2.0, b=-1.0, c=-3.0)) == "answer of b"
    assert answer(Owner(a=-2.0, b=-1.0, c=-3.0), steps=1) == "answer of a"


def test_nodes_that_fail_are_passed_over_and_a_prompt_fails_if_all_do() -> None:
    assert answer(Owner(c=-0.1)) == "answer of c"
    with pytest.raises(JobError, match="no node answered"):
        answer(Owner())
