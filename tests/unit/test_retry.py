"""Trying again, on a clock that the test moves."""

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from testbed.node.calls.retry import insist, pause
from testbed.patterns.protocol import RetryOptions

OPTIONS = RetryOptions.model_validate({"attempts": 3, "backoff": "100ms"})


class _NoWait(selectors.DefaultSelector):
    """Moves the loop's clock on instead of waiting."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


def _play(scene: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[Any, float]:
    """What came of a scene, and how many seconds it took."""
    selector = _NoWait()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scene()), selector.now


class Peer:
    """Gives one outcome after the other; None is silence."""

    def __init__(self, *outcomes: Exception | str | None) -> None:
        self.outcomes = list(outcomes)
        self.retried: list[tuple[int, str]] = []

    async def ask(self, attempt: int) -> str:
        outcome = self.outcomes[attempt - 1]
        if outcome is None:
            await asyncio.Event().wait()
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    def failed(self, attempt: int, error: Exception) -> None:
        self.retried.append((attempt, type(error).__name__))

    def scene(self) -> Coroutine[Any, Any, str]:
        return insist(self.ask, OPTIONS, 9.0, random.Random(1), self.failed)


def test_what_succeeds_is_asked_for_once() -> None:
    peer = Peer("yes")
    assert _play(peer.scene) == ("yes", 0.0)
    assert peer.retried == []


def test_a_lost_connection_is_tried_again_after_a_pause() -> None:
    peer = Peer(ConnectionResetError(), "yes")
    answer, took = _play(peer.scene)
    assert (answer, peer.retried) == ("yes", [(1, "ConnectionResetError")])
    assert 0.05 <= took <= 0.15


def test_silence_ends_after_the_timeout_which_the_attempts_share() -> None:
    peer = Peer(None, None, "yes")
    answer, took = _play(peer.scene)
    assert (answer, peer.retried) == ("yes", [(1, "TimeoutError"), (2, "TimeoutError")])
    assert 6.0 <= took <= 6.5
    silent = Peer(None, None, None)

    async def given_up() -> None:
        with pytest.raises(TimeoutError):
            await silent.scene()

    assert _play(given_up)[1] == pytest.approx(9.0)
    assert len(silent.retried) == 2


@pytest.mark.parametrize(
    ("outcomes", "error"),
    [((ValueError("no"), "yes"), ValueError), ((OSError("1"), OSError("2"), ConnectionError("3")), ConnectionError)],
)
def test_a_refusal_is_not_tried_again_and_the_last_failure_counts(
    outcomes: tuple[Any, ...], error: type[Exception]
) -> None:
    peer = Peer(*outcomes)

    async def scene() -> None:
        with pytest.raises(error):
            await peer.scene()

    _play(scene)
    assert len(peer.retried) == (0 if error is ValueError else 2)


def test_pauses_double_on_average_and_are_those_of_the_seed() -> None:
    for attempt, mean in ((1, 0.1), (2, 0.2), (3, 0.4)):
        pauses = [pause(OPTIONS, attempt, random.Random(seed)) for seed in range(400)]
        assert sum(pauses) / 400 == pytest.approx(mean, rel=0.05)
        assert mean / 2 <= min(pauses) < max(pauses) <= mean * 1.5
        assert pauses == [pause(OPTIONS, attempt, random.Random(seed)) for seed in range(400)]
