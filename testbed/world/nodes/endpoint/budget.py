"""What a run may spend at a foreign server: requests, and money by the node's price."""

from dataclasses import dataclass, field

from testbed.patterns.participant import Price


class BudgetSpentError(Exception):
    """A request would exceed the budget; the message says which part."""


@dataclass
class Account:
    """Counts requests and money, which never exceed the limits; None is no limit.

    Before a request is sent, the most that it can cost is set aside: a token per byte of the request, as tokens are at
    least a byte long, and all the tokens that it allows.
    """

    requests: int | None = None
    money: float | None = None
    price: Price | None = None
    _requests: int = field(default=0, init=False)
    _spent: float = field(default=0.0, init=False)

    def reserve(self, size: int, max_tokens: int) -> "Charge":
        """Set aside what a request of ``size`` bytes can cost; raises BudgetSpentError."""
        most = 0.0 if self.price is None else self.price.of(size, max_tokens)
        if self.requests is not None and self._requests >= self.requests:
            raise BudgetSpentError(f"the budget of {self.requests} requests is spent")
        if self.money is not None and self._spent + most > self.money:
            raise BudgetSpentError(
                f"of the budget of {self.money:g}, {self._spent:.6g} is spent, and the request could cost {most:.6g}"
            )
        self._requests += 1
        self._spent += most
        return Charge(self, most)

    @property
    def spent(self) -> tuple[int, float]:
        """The requests and the money so far."""
        return self._requests, self._spent

    def _correct(self, reserved: float, cost: float) -> None:
        self._spent += cost - reserved

    def _withdraw(self, reserved: float) -> None:
        self._requests -= 1
        self._spent -= reserved


@dataclass
class Charge:
    """What is set aside for one request. It stays so if nobody says what the request did cost."""

    _account: Account
    _reserved: float

    def settle(self, read: int, written: int) -> None:
        """The server has counted so many tokens."""
        price = self._account.price
        cost = 0.0 if price is None else price.of(read, written)
        self._account._correct(self._reserved, cost)
        self._reserved = cost

    def withdraw(self) -> None:
        """Nothing was sent."""
        self._account._withdraw(self._reserved)
