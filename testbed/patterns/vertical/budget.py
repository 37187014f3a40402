"""Budgets that are kept: a call that would break one is not made."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import Field

from testbed.core.spec import Spec
from testbed.core.units import Duration
from testbed.patterns.base import Mistake
from testbed.patterns.participant import Budget, Call, Completion, JobError, Peer, Surroundings

_TEMPLATE: Final = 16  # tokens that a chat template adds to a message, at most


class BudgetOptions(Spec):
    """What a prompt may cost. What is left out has no limit."""

    deadline: Duration | None = Field(None, gt=0, description="time from the arrival of a prompt to its answer")
    cost: float | None = Field(None, ge=0, allow_inf_nan=False, description="money, in the currency of `price`")
    tokens: int | None = Field(None, ge=1, description="tokens that all models together write")

    @property
    def limits(self) -> Budget:
        """The budget of a new prompt."""
        return Budget(self.deadline, self.tokens, self.cost)

    def mistakes(self, askable: Sequence[Peer], most_tokens: int) -> Iterator[Mistake]:
        """Limits that no call to any of ``askable`` can keep, each call writing up to ``most_tokens``."""
        if self.tokens is not None and self.tokens < most_tokens:
            yield ("tokens",), f"no stage can keep it: a call may write {most_tokens} tokens (`sampling.max_tokens`)"
        if self.cost is not None and askable:
            cheapest = min(price_of(peer, 1, most_tokens) for peer in askable)
            if cheapest > self.cost:
                yield ("cost",), f"no stage can keep it: the cheapest call may cost {cheapest:g}"


class BudgetError(JobError):
    """A call would break the budget, so it is not made."""


class Ledger:
    """What one prompt has left. Calls that are under way count with the most that they can cost."""

    def __init__(self, budget: Budget) -> None:
        self._over = None if budget.seconds is None else asyncio.get_running_loop().time() + budget.seconds
        self._tokens = budget.tokens
        self._money = budget.price

    @property
    def left(self) -> Budget:
        """The budget that is left."""
        seconds = None if self._over is None else max(0.0, self._over - asyncio.get_running_loop().time())
        return Budget(seconds, self._tokens, self._money)

    def reserve(self, call: Call, node: Peer, most_tokens: int, least_seconds: float) -> "Reservation":
        """Set aside what ``call`` may cost at ``node``, which never answered sooner than in ``least_seconds``.

        Raises BudgetError where that is more than is left.
        """
        written = call.sampling.max_tokens or most_tokens
        money = price_of(node, most_read(call), written)
        left = self.left
        if left.seconds is not None and left.seconds <= least_seconds:
            raise BudgetError(f"deadline: {left.seconds:.3g} s are left, and {node.name} needs {least_seconds:.3g} s")
        if left.tokens is not None and left.tokens < written:
            raise BudgetError(f"tokens: {left.tokens} are left, and a call to {node.name} may write {written}")
        if left.price is not None and left.price < money:
            raise BudgetError(f"cost: {left.price:.3g} is left, and a call to {node.name} may cost {money:.3g}")
        self.spend(written, money)
        return Reservation(self, node, written, money)

    def spend(self, tokens: int, money: float) -> None:
        """Take from what is left; a negative amount gives back."""
        if self._tokens is not None:
            self._tokens -= tokens
        if self._money is not None:
            self._money -= money


class Reservation:
    """What is set aside for a call. One that failed keeps it: the node may have worked, and asks for its price."""

    def __init__(self, ledger: Ledger, node: Peer, tokens: int, money: float) -> None:
        self._ledger = ledger
        self._node = node
        self._tokens = tokens
        self._money = money

    def settle(self, completion: Completion) -> None:
        """Put the cost of ``completion`` in the place of what was set aside."""
        money = price_of(self._node, completion.prompt_tokens, completion.tokens)
        self._ledger.spend(completion.tokens - self._tokens, money - self._money)


def most_read(call: Call) -> int:
    """The most tokens that a chat can be: a token stands for at least a byte."""
    return sum(len(message["content"].encode()) + _TEMPLATE for message in call.messages)


def price_of(node: Peer, read: int, written: int) -> float:
    """The price of so many tokens; a node without a price asks for none."""
    return 0.0 if node.price is None else node.price.of(read, written)


def askable(stages: Sequence[str], around: Surroundings) -> Sequence[Peer]:
    """The nodes among ``stages``, as ``around`` knows them."""
    known: Mapping[str, Peer] = {peer.name: peer for peer in (around.itself, *around.peers)}
    return [known[name] for name in stages if name in known]
