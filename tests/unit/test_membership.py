"""Membership on a simulated network: messages that take their time, get lost, and do not cross a partition."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from testbed.node.membership.swim import MOST_RUMOURS, Alive, Heartbeat, Lost, Membership, Rumour, Send, Step
from testbed.patterns.protocol import MembershipOptions

OPTIONS = MembershipOptions()
DELAY = 0.02  # seconds, one way


@dataclass
class Network:
    """Nodes and the messages between them. ``cut`` says which do not pass."""

    names: str
    seed: int = 0
    loss: float = 0.0
    now: float = 0.0
    cut: Callable[[str, str], bool] = lambda *_: False
    nodes: dict[str, Membership] = field(default_factory=dict)
    losses: list[tuple[float, str, str]] = field(default_factory=list)
    """When who lost whom."""
    sent: int = 0

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._numbers = itertools.count()
        self._wire: list[tuple[float, int, Send]] = []
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        """Start a node, or start it again with nothing in its memory."""
        others = [other for other in self.names if other != name]
        self.nodes[name] = Membership(name, others, OPTIONS, random.Random(f"{self.seed}{name}"))

    def stop(self, name: str) -> None:
        del self.nodes[name]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            tick = min((node.due, name) for name, node in self.nodes.items())
            arrival = self._wire[0][0] if self._wire else end
            self.now = max(self.now, min(tick[0], arrival, end))
            if self.now >= end:
                return
            if arrival <= tick[0]:
                self._deliver(heapq.heappop(self._wire)[2])
            else:
                self._carry_out(tick[1], self.nodes[tick[1]].tick(self.now))

    def sees(self, name: str) -> set[str]:
        """Whom a node sees alive."""
        others = (other for other in self.names if other != name)
        return {other for other in others if isinstance(self.nodes[name].state(other), Alive)}

    def all_see(self, names: Iterable[str]) -> bool:
        """Whether each of some nodes sees all of these, and nobody else."""
        return all(self.sees(name) == set(names) - {name} for name in names)

    def until(self, holds: Callable[[], bool], most: float) -> float:
        """Seconds until something holds."""
        begin = self.now
        while not holds():
            assert self.now - begin < most, "it does not come to hold"
            self.run(0.01)
        return self.now - begin

    def _deliver(self, send: Send) -> None:
        if send.to in self.nodes:
            self._carry_out(send.to, self.nodes[send.to].receive(send.message, self.now))

    def _carry_out(self, name: str, step: Step) -> None:
        for action in step:
            if isinstance(action, Send):
                self.sent += 1
                assert len(action.message.model_dump_json()) < 1000
                if self._draw.random() >= self.loss and not self.cut(name, action.to):
                    heapq.heappush(self._wire, (self.now + DELAY, next(self._numbers), action))
            elif isinstance(action.state, Lost):
                self.losses.append((self.now, name, action.name))


def _bound(nodes: int) -> float:
    """Seconds within which all must know of a silent node: it is pinged at the latest at the end of the next round,
    suspected a period later, lost after the suspicion; two periods for the word to go round."""
    return (2 * nodes - 3 + 1 + 2) * OPTIONS.period + OPTIONS.suspicion


@pytest.mark.parametrize("names", ["ab", "abcd", "abcdefghij"])
def test_without_loss_everybody_stays(names: str) -> None:
    network = Network(names)
    network.run(600)
    assert network.all_see(names)
    assert network.losses == []
    per_second = network.sent / 600 / len(names)
    assert per_second == pytest.approx(2, rel=0.02), "a ping and an ack in each period, however many nodes there are"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("names", ["ab", "abcd", "abcdefghij"])
def test_a_node_that_ends_is_lost_by_all_within_the_bound_and_back_when_it_is_started_again(
    names: str, seed: int
) -> None:
    network = Network(names, seed)
    network.run(5 + seed / 7)
    network.stop("b")
    rest = names.replace("b", "")
    ended = network.now
    network.run(_bound(len(names)))
    assert {(who, whom) for _, who, whom in network.losses} == {(name, "b") for name in rest}
    assert max(at for at, _, _ in network.losses) - ended <= _bound(len(names))
    network.start("b")
    assert network.until(lambda: network.all_see(names), most=10) <= 2 * OPTIONS.period


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("length", [10, 60])
def test_both_sides_of_a_partition_lose_the_other_alone_and_are_back_within_two_periods_of_healing(
    seed: int, length: float
) -> None:
    network, sides = Network("abcdef", seed), ("abc", "def")
    network.run(5 + seed / 7)
    network.cut = lambda one, other: (one in sides[0]) != (other in sides[0])
    network.run(_bound(6) if length == 60 else length)
    if length == 60:
        assert all(network.all_see(side) for side in sides)
        assert len(network.losses) == 18
    assert all((who in sides[0]) != (whom in sides[0]) for _, who, whom in network.losses)
    network.cut = lambda *_: False
    before = len(network.losses)
    assert network.until(lambda: network.all_see("abcdef"), most=10) <= 2 * OPTIONS.period
    network.run(30)
    assert len(network.losses) == before, "none is talked down by those of the other side"


@pytest.mark.parametrize(("names", "hours"), [("abcd", 2), ("abcdefgh", 1)])
def test_with_a_loss_of_five_percent_nobody_is_lost_in_hours(names: str, hours: int) -> None:
    network = Network(names, loss=0.05)
    network.run(hours * 3600)
    assert network.losses == []


def test_two_nodes_whose_own_link_is_down_reach_each_other_through_the_others() -> None:
    network = Network("abcd")
    network.cut = lambda one, other: {one, other} == {"a", "b"}
    network.run(60)
    assert network.losses == []
    assert "b" in network.sees("a")


def test_a_neighbour_that_does_not_answer_a_request_is_suspected_until_it_answers_a_ping() -> None:
    network = Network("abc")
    network.run(2.5)
    network._carry_out("a", network.nodes["a"].suspect("b", network.now))
    assert network.sees("a") == {"c"}
    assert network.until(lambda: network.sees("a") == {"b", "c"}, most=1) == pytest.approx(2 * DELAY, abs=0.02)
    network.run(10)
    assert network.all_see("abc")


def test_messages_of_strangers_and_about_them_are_not_taken() -> None:
    node = Membership("a", ["b"], OPTIONS, random.Random(1))
    about = [("b", "x", "a"), ("x", "b", "a"), ("b", "b", "x")]
    for source, origin, subject in about:
        message = Heartbeat(kind="ping", source=source, incarnation=9, origin=origin, subject=subject, number=1)
        assert list(node.receive(message, 0)) == []
    rumour = Rumour(name="x", alive=False, incarnation=0)
    ping = Heartbeat(kind="ping", source="b", incarnation=0, origin="b", subject="a", number=1, rumours=(rumour,))
    (ack,) = node.receive(ping, 0)
    assert isinstance(ack, Send)
    assert (ack.to, ack.message.kind, ack.message.rumours) == ("b", "ack", ())


def test_the_longest_message_fits_one_frame() -> None:
    name = "n" * 32
    rumours = tuple(Rumour(name=name, alive=False, incarnation=999_999) for _ in range(MOST_RUMOURS))
    longest = Heartbeat(
        kind="ping-req", source=name, incarnation=999_999, origin=name, subject=name, number=10**9, rumours=rumours
    )
    assert len(longest.model_dump_json()) < 1000
