"""The agent: answers the node's prompts with its pattern, and other nodes' requests with its inference."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from testbed.core import seeds
from testbed.node.calls.asking import Asker
from testbed.node.calls.deadlines import Deadlines
from testbed.node.calls.own import ContinuationRequest, DelegationRequest, VerificationRequest
from testbed.node.calls.requests import Ended, Requests, Running
from testbed.node.character.conduct import Conduct, honest
from testbed.node.character.traits import AnyTrait
from testbed.node.config import NodeConfig
from testbed.node.engine.inference import Inference
from testbed.node.engine.model import TOP_P, OnText, Sampling
from testbed.node.engine.queue import ABANDONED, CancelledJobError, NotDoneError, Outcome, ignore
from testbed.node.event_log import EventWriter
from testbed.node.journal import Past, as_arrival, content_of
from testbed.node.membership.neighbourhood import Neighbourhood
from testbed.node.openai.generation import GenerationRequest
from testbed.node.participant import NodeParticipant, root
from testbed.node.transport.http import HttpClient
from testbed.patterns.participant import Completion, JobError, Prompt, Record, Verification

_Result = TypeVar("_Result")

_SEEDS: Final = 2**32 - 1
"""llama.cpp's seeds end here: this one means a random seed, and larger ones wrap."""

_EXPIRED = "its deadline has passed"


def origin_of(request: GenerationRequest) -> dict[str, str]:
    """The prompt that a request serves, by its metadata. Other keys are other clients' own, and left out."""
    metadata = request.metadata or {}
    return {key: metadata[key] for key in ("prompt", "layer", "role", "owner") if key in metadata}


class Agent:
    """Answers prompts with its neighbours, and their requests with its own inference.

    Prompts, calls and delegations are named, and each is done once. What ``past`` holds is not done again.
    """

    def __init__(
        self,
        config: NodeConfig,
        inference: Inference,
        log: EventWriter,
        client: HttpClient,
        neighbourhood: Neighbourhood,
        past: Past,
        traits: Callable[[], Sequence[AnyTrait]] = honest,
    ) -> None:
        self.config = config
        self._inference = inference
        self._log = log
        self._neighbourhood = neighbourhood
        self._records: Mapping[str, Record] = {}
        self._conduct = Conduct(config, log, traits)
        self._asker = Asker(config, log, client, neighbourhood)
        self._prompts = Requests[str | JobError](past.prompts, contents=past.contents)
        self._delegations = Requests[str | JobError](past.delegations, contents=past.contents)
        self._jobs = Requests[Outcome | JobError](past.jobs, contents=past.contents)
        self._deadlines = Deadlines(partial(self.cancel, reason=_EXPIRED))
        self._cancelled: dict[str, str] = {}  # reasons of delegations that are being cancelled
        self._stopping = False

    async def answer(self, prompt: Prompt) -> str:
        """Take ``prompt`` through the pattern, once for each id; raises JobError if it has no answer."""

        async def accept() -> str | JobError:
            self._log.emit("arrival", **as_arrival(prompt))  # from here on it survives a restart
            return await self._take_through(prompt)

        return _succeeded(await self._prompts.outcome(prompt.id, accept, content_of(prompt)))

    def learn(self, prompt: str, reward: float) -> None:
        """Tell the pattern how right the answer to a prompt was, from 0 to 1."""
        self._log.emit("feedback", prompt=prompt, reward=reward)
        self.config.pattern.learn(prompt, reward)

    def resume(self, prompts: Sequence[Prompt]) -> None:
        """Take up prompts that were accepted before the node was started again."""
        for prompt in prompts:
            self._log.emit("resumed", prompt=prompt.id)
            self._prompts.begin(prompt.id, partial(self._take_through, prompt), content_of(prompt))

    def check(self, request: GenerationRequest) -> None:
        """Raise JobError at once for a chat that is too long by its mere length, or that its template refuses."""
        self._inference.check(request.chat)

    async def complete(
        self, request: GenerationRequest, job: str, seconds: float | None = None, on_text: OnText | None = None
    ) -> Completion:
        """Complete a chat, once for each ``job``, within ``seconds`` if its turn comes by then; raises JobError.

        ``on_text`` is told the text as it grows, if this is the first request for the job.
        """
        self._inference.check(request.chat)
        outcome = await self._once(request, job, seconds, partial(self._complete, request, job, on_text or ignore))
        assert isinstance(outcome, Completion)  # the name's content says what it is
        return outcome

    async def verify(self, request: VerificationRequest, job: str, seconds: float | None = None) -> Verification:
        """Verify a draft, once for each ``job``; raises JobError, also where the vocabularies differ."""
        self._inference.check(request.chat)
        if request.vocabulary != await self.vocabulary():
            models = f"{self.config.model} of {self.config.name} and {request.model}"
            raise JobError(f"{models} have different vocabularies, so one cannot verify the other's tokens")
        outcome = await self._once(request, job, seconds, partial(self._verify, request, job))
        assert isinstance(outcome, Verification)
        return outcome

    async def take_over(self, request: DelegationRequest, name: str, seconds: float | None = None) -> str:
        """The answer of the node's own pattern to a delegated prompt, once for each ``name``; raises JobError."""
        if self.config.name in request.visited:
            raise JobError(f"{self.config.name} delegated this prompt itself ({' → '.join(request.visited)})")
        prompt = request.prompt(name)
        content = _digest(request.model_dump_json())

        async def accept() -> str | JobError:
            self._log.emit(
                "delegation", prompt=root(name), name=name, visited=request.visited, text=request.text, content=content
            )
            return await self._take_through_for_others(prompt)

        return await self._within(seconds, name, content, self._delegations, accept)

    def note(self, records: Mapping[str, Record]) -> None:
        """Take note of how the answers of nodes came out that have been checked so far."""
        self._records = records

    def cancel(self, name: str, reason: str) -> None:
        """Nobody waits for the call or delegation called ``name`` any more.

        A call leaves the queue, and runs to its end if it has begun. A delegated prompt ends, and its calls with it.
        """
        if self._stopping:
            return
        self._inference.cancel(name, reason)
        match self._delegations.state(name):
            case Running(task):
                self._cancelled[name] = reason
                task.cancel()

    def knows(self, name: str) -> bool:
        """Whether a request for a completion has this name, and is being done or was."""
        return self._jobs.state(name) is not None

    def abandon(self, name: str) -> None:
        """Nobody can ask for the request called ``name`` any more: end it, even if its job has begun."""
        self._inference.abandon(name)
        self.cancel(name, ABANDONED)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Nobody can ask for the outcome of the request called ``name`` any more."""
        self._jobs.forget(name)
        self._delegations.forget(name)

    async def count(self, request: GenerationRequest) -> int:
        """The number of a chat's tokens, at least where they exceed the context; raises JobError."""
        return await asyncio.to_thread(self._inference.count, request.chat)

    async def vocabulary(self) -> str:
        """The hash of the model's tokens; raises JobError where there is no model to compare."""
        return await asyncio.to_thread(self._inference.vocabulary)

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says; raises JobError where no tokens are handed out."""
        return self._inference.text_of(tokens)

    async def reach(self) -> dict[str, float | None]:
        """The seconds that a request to each neighbour takes; None for one that cannot be reached.

        The network stands then: heartbeats begin, and the node waits until its inference is ready.
        """
        reached = await self._asker.reach()
        self._neighbourhood.begin()
        await self._inference.ready()
        return reached

    def stop(self) -> None:
        """Cancel nothing from now on: prompts that the node's end interrupts are taken up again after a restart."""
        self._stopping = True
        self._asker.close()

    async def _take_through(self, prompt: Prompt) -> str | JobError:
        try:
            text = await self.config.pattern.answer(prompt, self._participant(prompt))
        except Exception as error:  # every prompt ends: with an answer or with a reason
            self._log.emit("failed", prompt=prompt.id, reason=str(error))
            return JobError(str(error))
        self._log.emit("answer", prompt=prompt.id, text=text)
        return text

    async def _take_through_for_others(self, prompt: Prompt) -> str | JobError:
        named = {"name": prompt.id, "prompt": root(prompt.id)}
        try:
            text = await self.config.pattern.answer(prompt, self._participant(prompt))
        except asyncio.CancelledError:
            if (why := self._cancelled.pop(prompt.id, None)) is None:
                raise
            self._log.emit("delegation_failed", **named, reason=why)
            raise CancelledJobError(why) from None
        except Exception as error:  # as above
            self._log.emit("delegation_failed", **named, reason=str(error))
            return JobError(str(error))
        self._log.emit("delegation_answer", **named, text=text)
        return text

    def _participant(self, prompt: Prompt) -> NodeParticipant:
        return NodeParticipant(self.config, prompt, self, self._asker, self._neighbourhood, self._log, self._records)

    async def _once(
        self,
        request: GenerationRequest,
        job: str,
        seconds: float | None,
        work: Callable[[str], Coroutine[Any, Any, Outcome | JobError]],
    ) -> Outcome:
        content = _digest(request.model_dump_json())
        if known := self._jobs.state(job):
            state = "done" if isinstance(known, Ended) else "running"
            self._log.emit("duplicate", job=job, state=state, **origin_of(request))
        return await self._within(seconds, job, content, self._jobs, partial(work, content))

    async def _within(
        self,
        seconds: float | None,
        name: str,
        content: str,
        requests: Requests[_Result | JobError],
        work: Callable[[], Coroutine[Any, Any, _Result | JobError]],
    ) -> _Result:
        """The outcome of a request, which is cancelled if it has not ended ``seconds`` from now; raises JobError."""

        async def limited() -> _Result | JobError:
            try:
                return await work()
            finally:
                self._deadlines.forget(name)

        requests.check(name, content)
        if not isinstance(requests.state(name), Ended):
            self._deadlines.extend(name, seconds)
        return _succeeded(await requests.outcome(name, limited, content))

    async def _complete(
        self, request: GenerationRequest, job: str, on_text: OnText, content: str
    ) -> Completion | JobError:
        messages, sampling, origin = request.chat, self._sampling(request, job), origin_of(request)
        traits = self._conduct.misbehaving(job, origin.get("prompt", ""))
        told = ignore if traits else on_text
        outcome = await _done(self._inference.complete(job, messages, sampling, origin | {"content": content}, told))
        if traits and isinstance(outcome, Completion):
            outcome = self._conduct.said(outcome, traits, job, origin)
            on_text(outcome.text)
        return outcome

    async def _verify(self, request: VerificationRequest, job: str, content: str) -> Verification | JobError:
        messages, sampling, origin = request.chat, self._sampling(request, job), origin_of(request)
        return await _done(
            self._inference.verify(job, messages, request.tokens, sampling, origin | {"content": content})
        )

    def _sampling(self, request: GenerationRequest, job: str) -> Sampling:
        seed = request.seed
        if seed is None:
            seed = seeds.stream(self.config.seed, "sampling", job).getrandbits(31)
        elif not 0 <= seed < _SEEDS:
            seed = seeds.stream(seed, "sampling").getrandbits(31)
        return Sampling(
            temperature=self.config.temperature if request.temperature is None else request.temperature,
            max_tokens=request.most_tokens or self.config.max_tokens,
            seed=seed,
            top_p=request.top_p or TOP_P,
            stop=() if request.ignore_eos else (*self.config.chat.stop, *request.stops),
            ignore_eos=bool(request.ignore_eos),
            top_logprobs=request.alternatives,
            grammar=request.grammar,
            begun=tuple(request.begun) if isinstance(request, ContinuationRequest) else (),
        )


async def _done(work: Coroutine[Any, Any, _Result]) -> _Result | JobError:
    """The outcome to remember. Raises NotDoneError: a request that was not done may come again."""
    try:
        return await work
    except NotDoneError:
        raise
    except JobError as error:
        return error


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:16]


def _succeeded(outcome: _Result | JobError) -> _Result:
    if isinstance(outcome, JobError):
        raise type(outcome)(str(outcome))  # a new one: each raise makes the traceback of an error longer
    return outcome
