"""When named requests stop being wanted."""

import asyncio
from collections.abc import Callable


class Deadlines:
    """Calls ``expire`` with the name of each request whose deadline passes before it ends."""

    def __init__(self, expire: Callable[[str], None]) -> None:
        self._expire = expire
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unlimited: set[str] = set()

    def extend(self, name: str, seconds: float | None) -> None:
        """A request has ``seconds`` left, or no deadline. Of repeated requests, the latest deadline holds."""
        if seconds is None:
            self.forget(name)
            self._unlimited.add(name)
        if name in self._unlimited or seconds is None:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(name)
        if timer is None or timer.when() < loop.time() + seconds:
            self.forget(name)
            self._timers[name] = loop.call_later(seconds, self._pass, name)

    def forget(self, name: str) -> None:
        """A request has ended."""
        self._unlimited.discard(name)
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def _pass(self, name: str) -> None:
        self.forget(name)
        self._expire(name)
