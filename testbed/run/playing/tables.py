"""Links that follow tables: each row changes its link at its time, from the beginning of play."""

import asyncio
from collections.abc import Callable, Mapping

from testbed.core.errors import TestbedError
from testbed.faults.effects import ActiveEffects
from testbed.faults.targets import LinkTarget
from testbed.schema.fault import Effect
from testbed.schema.network.link import DirectionName, Link
from testbed.schema.network.link_table import LinkTable
from testbed.world.world import World, explained


async def follow_tables(
    world: World, zero: float, effects: ActiveEffects, failed: Callable[[str, TestbedError], None]
) -> None:
    """Change links by their tables, which count from ``zero`` on the loop's clock; returns after their last rows.

    Faults act on what the tables say, so this must begin before them. ``failed`` is told of links that cannot change.
    """
    async with asyncio.TaskGroup() as following:
        for link, tables in world.plan.scenario.topology.tables.items():
            following.create_task(_follow(link, tables, zero, effects, failed))


async def _follow(
    name: str,
    tables: Mapping[DirectionName, LinkTable],
    zero: float,
    effects: ActiveEffects,
    failed: Callable[[str, TestbedError], None],
) -> None:
    reached = 0.0

    def change(link: Link) -> Link:
        return link.changed({direction: table.at(reached) for direction, table in tables.items()})

    effect = Effect(LinkTarget(name), change)
    try:
        with explained(f"link {name} cannot follow its table"):
            await effects.replace([], [effect])
            for reached in sorted({moment for table in tables.values() for moment in table.moments}):
                await asyncio.sleep(zero + reached - asyncio.get_running_loop().time())
                await effects.refresh(effect)
    except TestbedError as error:
        failed(name, error)
