"""Play: every prompt comes to its owner when it is due, while faults happen and samples are taken."""

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, replace

from testbed.analysis.board import NodeBoard
from testbed.core.units import DURATION
from testbed.patterns.participant import JobError
from testbed.record.recording import SAMPLE_INTERVAL, Recording
from testbed.run.player import Timeline
from testbed.run.tending import tend
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer
from testbed.world.nodes.handle import NodeGoneError, Session
from testbed.world.world import World

Announce = Callable[[dict[str, NodeBoard], int, Mapping[str, str], float], None]
"""Is told that play begins: the boards, the number of prompts, the active faults, and the dilation."""


def play(world: World, recording: Recording, announce: Announce) -> None:
    """Hand over every prompt when it is due, and wait until all have ended or the limit of play is over."""
    scenario = world.plan.scenario
    arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    if world.plan.synthetic:
        arrivals = [replace(arrival, question=replace(arrival.question, truth=None)) for arrival in arrivals]
    recording.questions = {arrival.prompt: arrival.question for arrival in arrivals}
    timeline = Timeline(world, recording)
    recording.begin()
    announce(recording.boards, len(arrivals), timeline.active, world.clock.dilation)
    try:
        world.clock.run(_deliver_all(world, recording, timeline, arrivals))
    finally:
        recording.end()


async def _deliver_all(world: World, recording: Recording, timeline: Timeline, arrivals: list[Arrival]) -> None:
    scorer, limit = world.plan.scenario.workload.scorer, world.plan.scenario.limit
    async with AsyncExitStack() as stack:
        sessions = {name: await stack.enter_async_context(node.session()) for name, node in world.nodes.items()}
        stack.push_async_callback(timeline.end)
        beside = await stack.enter_async_context(asyncio.TaskGroup())
        works = (_sample(recording), recording.follow(), timeline.play(), tend(world, timeline.effects, timeline.fail))
        tasks = [beside.create_task(work) for work in works]
        begun: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as deliveries:
            for arrival in arrivals:
                before = None if arrival.after is None else begun[arrival.after]
                delivery = deliver(arrival, before, sessions[arrival.node], recording, scorer, limit)
                begun[arrival.prompt] = deliveries.create_task(delivery)
        for task in tasks:
            task.cancel()


async def _sample(recording: Recording) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        recording.sample()
        due += SAMPLE_INTERVAL
        await asyncio.sleep(due - loop.time())


async def deliver(
    arrival: Arrival,
    before: asyncio.Task[None] | None,
    session: Session,
    recording: Recording,
    scorer: Scorer,
    limit: float | None,
) -> None:
    """Hand a prompt to its owner, see that it ends, answered or failed with a reason, and judge its answer.

    ``before`` is the delivery that it comes after. A prompt that has not ended after ``limit`` seconds of play has
    failed, also if it has not arrived by then.
    """
    over = recording.zero + (math.inf if limit is None else limit)
    due = arrival.at + (recording.zero if before is None else await _end(before))
    await asyncio.sleep(min(due, over) - asyncio.get_running_loop().time())
    text, truth = arrival.question.text, arrival.question.truth
    recording.emit("prompt", prompt=arrival.prompt, owner=arrival.node, text=text, truth=truth)
    try:
        if due >= over:
            raise TimeoutError
        async with asyncio.timeout_at(None if limit is None else over):
            answer = await session.answer(arrival.prompt, text, arrival.question.label)
    except TimeoutError:
        recording.fail(arrival.prompt, arrival.node, f"the limit of {DURATION.format(limit or 0.0)} on play was over")
    except NodeGoneError:
        await recording.lose(arrival.prompt, arrival.node)
    except JobError:
        return  # the agent has recorded the failure itself
    else:
        score = await asyncio.to_thread(score_answer, scorer, arrival.question, answer)
        recording.emit("score", prompt=arrival.prompt, **asdict(score))


async def _end(delivery: asyncio.Task[None]) -> float:
    """The time at which a delivery ends."""
    await asyncio.wait([delivery])
    return asyncio.get_running_loop().time()
