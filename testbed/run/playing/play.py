"""Play: every prompt comes to its owner when it is due, while faults happen and samples are taken."""

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, replace

from testbed.analysis.board import NodeBoard
from testbed.core.units import DURATION
from testbed.patterns.participant import JobError
from testbed.record.answer_checks import Checks
from testbed.record.recording import SAMPLE_INTERVAL, Recording
from testbed.run.playing.player import Timeline
from testbed.run.playing.tables import follow_tables
from testbed.run.playing.tending import tend
from testbed.schema.workload import prompt_of
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.base import Scorer
from testbed.workload.scoring.score import score_answer
from testbed.world.nodes.handle import Learner, NodeGoneError, Session
from testbed.world.world import World

Announce = Callable[[dict[str, NodeBoard], int, Mapping[str, str], float], None]
"""Is told that play begins: the boards, the number of prompts, the active faults, and the dilation."""


def play(world: World, recording: Recording, announce: Announce) -> None:
    """Hand over every prompt when it is due, and wait until all have ended or the limit of play is over."""
    scenario = world.plan.scenario
    arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    if reason := _why_unjudged(world):
        arrivals = [replace(arrival, question=arrival.question.without_truth(reason)) for arrival in arrivals]
    recording.questions = {arrival.prompt: arrival.question for arrival in arrivals}
    timeline = Timeline(world, recording)
    checks = Checks(recording, scenario.workload.scorer)
    recording.begin()
    count = sum(1 + len(arrival.question.turns) for arrival in arrivals)
    announce(recording.boards, count, timeline.active, world.clock.dilation)
    try:
        world.clock.run(_deliver_all(world, recording, timeline, checks, arrivals))
    finally:
        recording.end()


def _why_unjudged(world: World) -> str | None:
    """Why no answer is judged: it may depend on a model that cannot know any; None if answers are judged."""
    if world.plan.synthetic:
        return f"random weights in {', '.join(world.plan.synthetic)}"
    scenario = world.plan.scenario
    reasons = (scenario.workload.prompts.meaningless_for(node.model) for node in scenario.topology.agents.values())
    return next(filter(None, reasons), None)


async def _deliver_all(
    world: World, recording: Recording, timeline: Timeline, checks: Checks, arrivals: list[Arrival]
) -> None:
    scenario = world.plan.scenario
    scorers, limit = scenario.workload.scorers, scenario.limit
    async with AsyncExitStack() as stack:
        sessions = {name: await stack.enter_async_context(node.session()) for name, node in world.nodes.items()}
        stack.push_async_callback(timeline.end)
        beside = await stack.enter_async_context(asyncio.TaskGroup())
        asking = [sessions[name] for name in (*scenario.owners, *scenario.patterns)]
        askers = [session for session in asking if isinstance(session, Learner)]
        works = (
            _sample(recording),
            recording.follow(),
            checks.serve(askers),
            follow_tables(world, recording.zero, timeline.effects, timeline.fail),
            timeline.play(),
            tend(world, timeline.effects, timeline.fail),
        )
        tasks = [beside.create_task(work) for work in works]
        begun: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as deliveries:
            for arrival in arrivals:
                before = None if arrival.after is None else begun[arrival.after]
                session = sessions[arrival.node]
                learner = session if scenario.pattern.learns and isinstance(session, Learner) else None
                delivery = deliver(arrival, before, session, recording, scorers, limit, learner)
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
    scorers: Sequence[Scorer],
    limit: float | None,
    learner: Learner | None = None,
) -> None:
    """Hand a prompt to its owner, see that it ends, answered or failed with a reason, and judge its answer.

    ``before`` is the delivery that it comes after. In a conversation each turn is a prompt, handed over when the one
    before is answered: ``p7``, ``p7-2``. A turn that fails is the last one. The first of ``scorers`` is the one that
    counts; ``learner`` is told its score, as by a user. A prompt that has not ended after ``limit`` seconds of play has
    failed, also if it has not arrived by then.
    """
    due = arrival.at + (recording.zero if before is None else await _end(before))
    await asyncio.sleep(min(due, _over(recording, limit)) - asyncio.get_running_loop().time())
    turns, turn = itertools.count(2), arrival
    while (answer := await _answer(turn, session, recording, limit)) is not None:
        for scorer in scorers:
            score = await asyncio.to_thread(score_answer, scorer, turn.question, answer)
            recording.emit("score", prompt=turn.prompt, **asdict(score), counts=scorer is scorers[0])
            if learner is not None and scorer is scorers[0] and score.value is not None:
                await _teach(learner, turn.prompt, score.value)
        if (following := turn.question.after(answer)) is None:
            return
        turn = replace(turn, prompt=f"{arrival.prompt}-{next(turns)}", question=following)
        recording.questions[turn.prompt] = following


async def _teach(learner: Learner, prompt: str, reward: float) -> None:
    with suppress(NodeGoneError):  # what it had learned is gone as well
        await learner.feedback(prompt, reward)


def _over(recording: Recording, limit: float | None) -> float:
    """When play is over by its limit, on the loop's clock."""
    return recording.zero + (math.inf if limit is None else limit)


async def _answer(turn: Arrival, session: Session, recording: Recording, limit: float | None) -> str | None:
    """The answer to one turn of a conversation; None if it has failed."""
    question, over = turn.question, _over(recording, limit)
    recording.emit("prompt", prompt=turn.prompt, owner=turn.node, **question.recorded())
    prompt = prompt_of(turn)
    try:
        if asyncio.get_running_loop().time() >= over:
            raise TimeoutError
        async with asyncio.timeout_at(over if math.isfinite(over) else None):
            return await session.answer(prompt)
    except TimeoutError:
        recording.fail(turn.prompt, turn.node, f"the limit of {DURATION.format(limit or 0.0)} on play was over")
    except NodeGoneError:
        await recording.lose(turn.prompt, turn.node)
    except JobError:
        pass  # the agent has recorded the failure itself
    return None


async def _end(delivery: asyncio.Task[None]) -> float:
    """The time at which a delivery ends."""
    await asyncio.wait([delivery])
    return asyncio.get_running_loop().time()
