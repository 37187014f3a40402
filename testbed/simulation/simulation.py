"""A scenario from its first prompt to its last answer, in virtual time."""

import asyncio
import gc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean

from testbed.analysis.events import HOST, Event
from testbed.core.errors import TestbedError
from testbed.patterns.participant import Peer
from testbed.schema.scenario import Scenario
from testbed.schema.workload import prompt_of
from testbed.simulation.calibration import device_of
from testbed.simulation.exchange import Place
from testbed.simulation.loop import VirtualLoop
from testbed.simulation.network import Network
from testbed.simulation.node import Emit, Job, SimulatedNode
from testbed.simulation.participant import SimulatedParticipant
from testbed.simulation.sources import Source
from testbed.workload.prompts.base import Question
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.score import score_answer


@dataclass
class Course:
    """What a simulation came to. Times are in virtual seconds, loads in seconds of work per second.

    ``latencies`` are of the prompts that were answered, ``scores`` of the answers that were judged. ``loads``, until
    the last prompt arrived, and the time-averaged ``queues`` are by node. ``traffic`` is in bytes, by link and
    direction.
    """

    latencies: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    loads: dict[str, float] = field(default_factory=dict)
    queues: dict[str, float] = field(default_factory=dict)
    traffic: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    events: list[Event] = field(default_factory=list)
    questions: dict[str, Question] = field(default_factory=dict)

    @property
    def load(self) -> float:
        """That of the busiest node."""
        return max(self.loads.values(), default=0.0)

    @property
    def latency(self) -> float:
        """The mean latency."""
        return fmean(self.latencies.values())

    @property
    def queue(self) -> float:
        """The mean length of all nodes' queues over time."""
        return fmean(self.queues.values())


def simulate(
    scenario: Scenario,
    source: Source,
    network: Network,
    arrivals: Sequence[Arrival] | None = None,
    record: bool = True,
) -> Course:
    """Play ``scenario`` with the times of ``source``; without ``record``, no events are kept.

    ``arrivals`` are those of the scenario unless given. Raises SpecError where the pattern asks for something that is
    not simulated, or the source does not know it.
    """
    loop = VirtualLoop()  # type: ignore[abstract]  # files and sockets have no virtual time
    if arrivals is None:
        arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    play = _Play(scenario, source, network, loop, record)
    gc.freeze()  # nothing that is there already is garbage, and to look through ten thousand nodes for it takes long
    try:
        loop.run(play.deliver(arrivals))
    finally:
        gc.unfreeze()
    return play.course


class _Play:
    """The nodes of a scenario, and the prompts on their way."""

    def __init__(self, scenario: Scenario, source: Source, network: Network, loop: VirtualLoop, record: bool) -> None:
        self.course = Course()
        self._scenario = scenario
        self._source = source
        self._network = network
        self._loop = loop
        self._emit: Emit = self._keep if record else _ignore
        self._devices = {name: device_of(node) for name, node in scenario.topology.agents.items()}
        self._nodes = {
            name: SimulatedNode(name, loop, self._emit, scenario.queue, self._service) for name in self._devices
        }
        self._following: defaultdict[str, list[Arrival]] = defaultdict(list)  # by the prompt that they come after
        self._left = self._to_come = 0
        self._ended = loop.create_future()
        self._place = cache(self._place_of)
        self._peer = cache(self._peer_of)

    async def deliver(self, arrivals: Sequence[Arrival]) -> None:
        """Hand every prompt over when it is due, and wait for the ends of all."""
        for arrival in arrivals:
            if arrival.after is not None:
                self._following[arrival.after].append(arrival)
        self._left = self._to_come = len(arrivals)
        for name in self._nodes:
            self._emit(name, "ready")
        self._emit(HOST, "traffic", links=self._network.traffic())
        self._next(iter([arrival for arrival in arrivals if arrival.after is None]))
        await self._ended
        self._emit(HOST, "traffic", links=self._network.traffic())
        self._sum_up()

    def _next(self, coming: Iterator[Arrival]) -> None:
        """Set a timer for the next arrival alone: a heap of all would make each timer dearer."""
        if (arrival := next(coming, None)) is not None:
            self._loop.call_at(arrival.at, self._begin_and_go_on, arrival, coming)

    def _begin_and_go_on(self, arrival: Arrival, coming: Iterator[Arrival]) -> None:
        self._begin(arrival)
        self._next(coming)

    def _begin(self, arrival: Arrival) -> None:
        self._to_come -= 1
        if not self._to_come:
            now = self._loop.time()
            self.course.loads = {name: node.busy / now if now else 0.0 for name, node in self._nodes.items()}
        self._loop.create_task(self._converse(arrival)).add_done_callback(self._end)

    def _end(self, conversation: "asyncio.Task[str]") -> None:
        """A prompt has ended, with those of its further turns; an error of a conversation ends the simulation."""
        if (error := conversation.exception()) is not None:
            if not self._ended.done():
                self._ended.set_exception(error)
            return
        for arrival in self._following.pop(conversation.result(), ()):
            self._loop.call_later(arrival.at, self._begin, arrival)
        self._left -= 1
        if not self._left:
            self._ended.set_result(None)

    async def _converse(self, arrival: Arrival) -> str:
        """Take a prompt and its further turns to their answers; returns its name."""
        turn, number = arrival, 1
        while (answer := await self._answer(turn)) is not None:
            for scorer in self._scenario.workload.scorers:
                score = score_answer(scorer, turn.question, answer)
                counts = scorer is self._scenario.workload.scorer
                self._emit(HOST, "score", prompt=turn.prompt, **vars(score), counts=counts)
                if counts and score.value is not None:
                    self.course.scores[turn.prompt] = score.value
            if (following := turn.question.after(answer)) is None:
                break
            number += 1
            turn = replace(turn, prompt=f"{arrival.prompt}-{number}", question=following)
        return arrival.prompt

    async def _answer(self, turn: Arrival) -> str | None:
        """The answer to one turn; None if it has failed."""
        question, place, arrived = turn.question, self._place(turn.node), self._loop.time()
        self._emit(HOST, "prompt", prompt=turn.prompt, owner=turn.node, **question.recorded())
        self._emit(turn.node, "arrival", prompt=turn.prompt, text=question.text)
        self.course.questions[turn.prompt] = question
        prompt = prompt_of(turn)
        try:
            text = await self._scenario.pattern_of(turn.node).answer(
                prompt, SimulatedParticipant(place, prompt, question)
            )
        except TestbedError:  # the simulation cannot go on
            raise
        except Exception as error:  # as in a real node, every prompt ends: with an answer or with a reason
            self.course.failures[turn.prompt] = str(error)
            self._emit(turn.node, "failed", prompt=turn.prompt, reason=str(error))
            return None
        await asyncio.sleep(max(0.0, self._source.leg("local", "", len(place.node) > 0)))
        self._emit(turn.node, "answer", prompt=turn.prompt, text=text)
        self.course.latencies[turn.prompt] = self._loop.time() - arrived
        return text

    def _service(self, job: Job, first: bool) -> float:
        return self._source.service(job.name, job.kind, job.own, first)

    def _place_of(self, name: str) -> Place:
        linked = frozenset(self._scenario.topology.linked(name))
        peers = [self._peer(other, other in linked) for other in self._scenario.neighbours(name)]
        node = self._nodes[name]
        return Place(
            self._scenario,
            node,
            self._nodes,
            self._devices,
            self._peer(name, True),
            peers,
            self._loop,
            self._network,
            self._source,
            self._emit,
        )

    def _peer_of(self, name: str, linked: bool) -> Peer:
        """A node as one that is linked with it sees it, or as another."""
        return replace(self._scenario.peer(name, name), linked=linked)

    def _sum_up(self) -> None:
        self.course.seconds = now = self._loop.time()
        self.course.traffic = self._network.traffic()
        self.course.queues = {name: node.area / now if now else 0.0 for name, node in self._nodes.items()}

    def _keep(self, node: str, event: str, **fields: object) -> None:
        self.course.events.append({"t": self._loop.time(), "node": node, "event": event, **fields})


def _ignore(node: str, event: str, **fields: object) -> None:
    """Keep nothing."""
