"""Retries within a deadline, after random pauses that grow."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from testbed.patterns.protocol import RetryOptions

Result = TypeVar("Result")


async def insist(
    attempt: Callable[[int], Awaitable[Result]],
    options: RetryOptions,
    timeout: float | None,
    draw: random.Random,
    failed: Callable[[int, Exception], None],
) -> Result:
    """The result of the first attempt that succeeds.

    Raises the last attempt's error, or TimeoutError after ``timeout`` seconds; without a timeout, attempts have no
    limit. Attempts are counted from 1, and each may take an equal share of the time that is left. An attempt that fails
    with OSError, which includes TimeoutError, is repeated, and ``failed`` is called before that.
    """
    loop = asyncio.get_running_loop()
    deadline = None if timeout is None else loop.time() + timeout
    for number in range(1, options.attempts):
        share = None if deadline is None else (deadline - loop.time()) / (options.attempts - number + 1)
        try:
            async with asyncio.timeout(share):
                return await attempt(number)
        except OSError as error:
            failed(number, error)
        wait = pause(options, number, draw)
        await asyncio.sleep(wait if deadline is None else min(wait, deadline - loop.time()))
    async with asyncio.timeout_at(deadline):
        return await attempt(options.attempts)


def pause(options: RetryOptions, attempt: int, draw: random.Random) -> float:
    """Seconds to wait after an attempt: uniform from half to one and a half of a mean that doubles with each attempt.

    Random pauses keep nodes whose attempts failed together from repeating them together.
    """
    return options.backoff * 2.0 ** (attempt - 1) * draw.uniform(0.5, 1.5)
