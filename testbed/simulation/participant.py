"""A node's part in one prompt, as the pattern sees it (:class:`testbed.patterns.participant.Participant`)."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from testbed.core import seeds
from testbed.core.errors import SpecError
from testbed.core.normalisation import normalised
from testbed.patterns.participant import Call, Claim, Completion, JobNames, Peer, Prompt, Record, Verification
from testbed.simulation.calibration import Kind
from testbed.simulation.exchange import SHORT, Exchange, Place
from testbed.simulation.node import Job
from testbed.workload.prompts.base import Question


class SimulatedParticipant:
    """The node at ``place`` while it answers ``prompt``, which asks ``question``."""

    def __init__(self, place: Place, prompt: Prompt, question: Question) -> None:
        self._place = place
        self._prompt = prompt
        self._question = question
        self._stand_in = place.source.stand_in(question)
        self._names = JobNames(prompt.id)
        self._came: defaultdict[int, list[str]] = defaultdict(list)  # completions by layer

    @property
    def name(self) -> str:
        """The node's own name."""
        return self._place.node.name

    @property
    def itself(self) -> Peer:
        """The node's own model, tier and price."""
        return self._place.itself

    @property
    def peers(self) -> Sequence[Peer]:
        """The nodes that it may call. All are present: nothing fails in a simulation."""
        return self._place.peers

    @property
    def most_tokens(self) -> int:
        """The scenario's `sampling.max_tokens`."""
        return self._place.scenario.sampling.max_tokens

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names``, derived from the run's seed as in a real node."""
        return seeds.stream(self._place.scenario.seed, *names)

    def normalised(self, answer: str) -> str:
        """The normal form of an answer, by the normalisation of the run's scorer."""
        return normalised(answer, self._place.scenario.workload.scorer.normalisation)

    async def complete(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> Completion:
        """The completion of ``call``; raises JobError if it is late, or the queue has no room for it."""
        if call.begun:
            raise _unable("a call whose answer begins with given tokens")
        loop, node = self._place.loop, self._place.node if at is None else self._place.nodes[at.name]
        begin = loop.time()
        exchange = Exchange(self._place, node, self._job(call, node.name))
        timer = None if timeout is None else loop.call_later(timeout, exchange.expire, timeout)
        try:
            completion = await exchange.outcome
        except asyncio.CancelledError:
            exchange.give_up()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        self._came[call.layer].append(completion.text)
        return replace(completion, seconds=loop.time() - begin, by=node.name)

    async def room(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> int:
        """Not simulated: raises SpecError."""
        del call, at, timeout
        raise _unable("the room that an answer has")

    async def delegate(self, prompt: Prompt, at: Peer, timeout: float | None = None) -> str:
        """Not simulated: raises SpecError."""
        del prompt, at, timeout
        raise _unable("a delegation")

    async def verify(self, call: Call, tokens: Sequence[int], at: Peer, timeout: float | None = None) -> Verification:
        """Not simulated: raises SpecError."""
        del call, tokens, at, timeout
        raise _unable("a verification")

    def text_of(self, tokens: Sequence[int]) -> str:
        """Not simulated: raises SpecError."""
        del tokens
        raise _unable("the text of tokens")

    async def reaches(self, peer: Peer, timeout: float) -> bool:
        """Whether a ping is back within ``timeout`` seconds."""
        place, begin = self._place, self._place.loop.time()
        there = place.network.carry(self.name, peer.name, SHORT, begin)
        taken = place.network.carry(peer.name, self.name, SHORT, there) - begin
        await asyncio.sleep(min(taken, timeout))
        return taken <= timeout

    def disclose(self, to: Peer, text: str, *, masked: int, exposed: int) -> None:
        """Record the ``text`` that leaves the node's tier."""
        prompt, tier = self._prompt.id, to.tier
        self._emit("disclosure", prompt=prompt, to=to.name, tier=tier, text=text, masked=masked, exposed=exposed)

    def check(self, claims: Sequence[Claim]) -> None:
        """Not simulated: raises SpecError."""
        del claims
        raise _unable("checks of answers")

    def record(self, node: str) -> Record:
        """Not simulated: raises SpecError."""
        del node
        raise _unable("what checked answers came to")

    def exclude(self, nodes: Sequence[str]) -> None:
        """Not simulated: raises SpecError."""
        del nodes
        raise _unable("exclusions")

    def decide(
        self,
        to: Peer | None,
        *,
        source: Peer | None = None,
        score: float | None = None,
        threshold: float | None = None,
        propensity: float | None = None,
        reason: str = "",
    ) -> None:
        """Record that the prompt goes from ``source`` on to ``to``."""
        names = {"from": source.name if source else self.name, "to": to.name if to else self.name}
        judged = {"score": score, "threshold": threshold, "propensity": propensity, "reason": reason}
        self._emit("decision", prompt=self._prompt.id, **names, **judged)

    def _job(self, call: Call, node: str) -> Job:
        name = self._names.job(call, node)
        read = self._came.get(call.layer - 1, [])
        kind = Kind(self._place.devices[node], call.role, len(read))
        origin = {"prompt": self._prompt.id, "layer": str(call.layer), "role": call.role, "owner": self.name}
        completion = self._place.source.completion(kind, self._question, self._stand_in, read)
        return Job(name, kind, node == self.name, origin, completion)

    def _emit(self, event: str, **fields: object) -> None:
        self._place.emit(self.name, event, **fields)


def _unable(what: str) -> SpecError:
    return SpecError.of("pattern", f"asks for {what}, which is not simulated; run the scenario with `testbed run`")
