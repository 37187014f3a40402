"""Trying again: within a deadline, after pauses that grow and are drawn."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import ClientError

from testbed.patterns.protocol import RetryOptions

Result = TypeVar("Result")


async def insist(
    attempt: Callable[[int], Awaitable[Result]],
    options: RetryOptions,
    timeout: float,
    draw: random.Random,
    failed: Callable[[int, Exception], None],
) -> Result:
    """What the first attempt that succeeds gives; raises the last one's error, TimeoutError after ``timeout`` seconds.

    Attempts are counted from 1. Each may take an equal share of what is left of ``timeout``. What fails on the way
    (ClientError, OSError with TimeoutError) is tried again; ``failed`` is told of each that will be.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    for number in range(1, options.attempts):
        share = (deadline - loop.time()) / (options.attempts - number + 1)
        try:
            async with asyncio.timeout(share):
                return await attempt(number)
        except (ClientError, OSError) as error:
            failed(number, error)
        await asyncio.sleep(min(pause(options, number, draw), deadline - loop.time()))
    async with asyncio.timeout_at(deadline):
        return await attempt(options.attempts)


def pause(options: RetryOptions, attempt: int, draw: random.Random) -> float:
    """Seconds to wait after an attempt, uniform around a mean that doubles with each.

    From half to one and a half of the mean: those who failed together do not try again together.
    """
    return options.backoff * 2.0 ** (attempt - 1) * draw.uniform(0.5, 1.5)
