"""Nodes that somebody else starts again during play: ``docker restart``, or the engine itself."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from testbed.core.errors import TestbedError
from testbed.faults.api import Condition
from testbed.faults.effects import ActiveEffects
from testbed.faults.targets import change_node
from testbed.world.nodes.handle import NodeHandle
from testbed.world.world import World, explained

_LOOK: Final = 0.25
"""Seconds between two looks at the nodes that have ended."""


async def tend(world: World, effects: ActiveEffects, failed: Callable[[str, TestbedError], None]) -> None:
    """Give such nodes their links back, and what the active faults demand of them, until cancelled.

    ``failed`` is told of a node that cannot have them.
    """
    while True:
        for name, node in world.nodes.items():
            if node.ended:
                await _take_up(world, node, name, effects, failed)
        await asyncio.sleep(_LOOK)


async def _take_up(
    world: World,
    node: NodeHandle,
    name: str,
    effects: ActiveEffects,
    failed: Callable[[str, TestbedError], None],
) -> None:
    def found() -> Condition | None:
        # What the node was told last is unknown, so it is told everything: no slowness is 0.
        untold = replace(world.original_condition(name), running=False, slowness=0)
        return untold if node.started_by_others else None

    try:
        with explained(f"node {name!r} was started again by others and cannot have its links back"):
            await effects.take_up(change_node(name, running=True), found)
    except TestbedError as error:
        if await asyncio.to_thread(lambda: node.started_by_others):  # else it has ended once more
            failed(name, error)
