"""Waiting for several nodes at once, and not for ever."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from testbed.core.units import DURATION
from testbed.world.nodes.handle import NodeHandle, WorldError

Result = TypeVar("Result")


async def of_all(
    nodes: Iterable[NodeHandle], wait: Callable[[NodeHandle], Awaitable[Result]], seconds: float, what: str
) -> dict[str, Result]:
    """What ``wait`` returns for each node, by the node's name.

    Raises the first error of any of them. Raises WorldError if some have not returned within ``seconds`` of the event
    loop's clock: it names these nodes, and ``what`` they have not done.
    """
    waiting = {node.name: asyncio.ensure_future(wait(node)) for node in nodes}
    try:
        await asyncio.wait(waiting.values(), timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for one in waiting.values():
            if one.done():
                one.result()
        if late := [name for name, one in waiting.items() if not one.done()]:
            named = f"node{'s' if len(late) > 1 else ''} {', '.join(map(repr, late))}"
            raise WorldError(f"{named} did not {what} within {DURATION.readable(seconds)}")
        return {name: one.result() for name, one in waiting.items()}
    finally:
        for one in waiting.values():
            one.cancel()
        await asyncio.gather(*waiting.values(), return_exceptions=True)
