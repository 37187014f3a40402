"""The agent: the node's part in a pattern."""

import random
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from aiohttp import ClientSession

from testbed.core import seeds
from testbed.node.calls.asking import Asker
from testbed.node.calls.openai import ChatMessage, ChatRequest
from testbed.node.calls.requests import Ended, Requests
from testbed.node.config import NodeConfig
from testbed.node.engine.inference import Inference
from testbed.node.engine.model import TOP_P, Completion, Sampling
from testbed.node.engine.queue import OverloadedError
from testbed.node.event_log import EventWriter
from testbed.node.journal import Past
from testbed.node.membership.neighbourhood import Neighbourhood
from testbed.patterns.participant import Job, JobError, Prompt

_Result = TypeVar("_Result")


def origin_of(request: ChatRequest) -> dict[str, str]:
    """What a request says of the prompt that it serves; other clients' metadata means nothing here."""
    metadata = request.metadata or {}
    return {key: metadata[key] for key in ("prompt", "layer", "owner") if key in metadata}


class Agent:
    """Answers prompts with its neighbours, and their requests with its own inference. It is a pattern's Participant.

    Prompts and jobs are named, and each is done once; what ``past`` says was done is not done again.
    """

    def __init__(
        self,
        config: NodeConfig,
        inference: Inference,
        log: EventWriter,
        session: ClientSession,
        neighbourhood: Neighbourhood,
        past: Past,
    ) -> None:
        self.config = config
        self._inference = inference
        self._log = log
        self._neighbourhood = neighbourhood
        self._asker = Asker(config, log, session, neighbourhood)
        self._prompts = Requests[str | JobError](past.prompts)
        self._jobs = Requests[Completion | JobError](past.jobs)

    @property
    def neighbours(self) -> Sequence[str]:
        """The names of the nodes that it can ask."""
        return self._neighbourhood.present()

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names``, split from the run's seed."""
        return seeds.stream(self.config.seed, *names)

    async def answer(self, prompt: Prompt) -> str:
        """Take ``prompt`` through the pattern, once for each id; raises JobError if it has no answer."""

        async def accept() -> str | JobError:
            self._log.emit("arrival", prompt=prompt.id, text=prompt.text)  # from here on it survives a restart
            return await self._take_through(prompt)

        return _succeeded(await self._prompts.outcome(prompt.id, accept))

    def resume(self, prompts: Sequence[Prompt]) -> None:
        """Take up prompts that were accepted before the node was started again."""
        for prompt in prompts:
            self._log.emit("resumed", prompt=prompt.id)
            self._prompts.begin(prompt.id, partial(self._take_through, prompt))

    async def infer(self, job: Job) -> str:
        """The answer of this node's own inference; raises JobError."""
        completion = await self.complete(self._request(job), f"{job.prompt}.{job.layer}@{self.config.name}")
        return completion.text

    async def ask(self, neighbour: str, job: Job, timeout: float) -> str:
        """The answer of a neighbour's model, over the emulated network; raises JobError."""
        name = f"{job.prompt}.{job.layer}@{neighbour}"
        answer = await self._asker.ask(neighbour, name, self._request(job), timeout)
        return answer.choices[0].message.content

    async def complete(self, request: ChatRequest, job: str) -> Completion:
        """Have this node complete a chat, once for each ``job``; raises JobError."""
        if known := self._jobs.state(job):
            state = "done" if isinstance(known, Ended) else "running"
            self._log.emit("duplicate", job=job, state=state, **origin_of(request))
        return _succeeded(await self._jobs.outcome(job, partial(self._do, request, job)))

    async def reach(self) -> dict[str, float | None]:
        """The seconds that a request to each neighbour takes; None for one that cannot be reached.

        Then the network stands, and the node waits until it can do what it is for.
        """
        reached = await self._asker.reach()
        self._neighbourhood.begin()
        await self._inference.ready()
        return reached

    async def _take_through(self, prompt: Prompt) -> str | JobError:
        try:
            text = await self.config.pattern.answer(prompt, self)
        except Exception as error:  # every prompt ends: with an answer or with a reason
            self._log.emit("failed", prompt=prompt.id, reason=str(error))
            return JobError(str(error))
        self._log.emit("answer", prompt=prompt.id, text=text)
        return text

    async def _do(self, request: ChatRequest, job: str) -> Completion | JobError:
        """Raises OverloadedError: what was not done may be asked for again."""
        sampling = Sampling(
            temperature=self.config.temperature if request.temperature is None else request.temperature,
            max_tokens=request.max_completion_tokens or request.max_tokens or self.config.max_tokens,
            seed=self.random("sampling", job).getrandbits(31) if request.seed is None else request.seed,
            top_p=request.top_p or TOP_P,
        )
        messages = [message.model_dump() for message in request.messages]
        try:
            return await self._inference.complete(job, messages, sampling, origin_of(request))
        except OverloadedError:
            raise
        except JobError as error:
            return error

    def _request(self, job: Job) -> ChatRequest:
        metadata = {"prompt": job.prompt, "layer": str(job.layer), "owner": self.config.name}
        return ChatRequest(messages=[ChatMessage(role="user", content=job.text)], metadata=metadata)


def _succeeded(outcome: _Result | JobError) -> _Result:
    if isinstance(outcome, JobError):
        raise JobError(str(outcome))
    return outcome
