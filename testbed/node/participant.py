"""A node's part in one prompt, as the pattern sees it (:class:`testbed.patterns.participant.Participant`)."""

import asyncio
import random
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from testbed.core import seeds
from testbed.core.normalisation import normalised
from testbed.node.calls.asking import Asker
from testbed.node.calls.own import (
    ContinuationRequest,
    CountRequest,
    CountResponse,
    DelegationRequest,
    DelegationResponse,
    VerificationRequest,
    VerificationResponse,
)
from testbed.node.config import NodeConfig
from testbed.node.event_log import EventWriter
from testbed.node.membership.neighbourhood import Neighbourhood
from testbed.node.openai.chats import ChatRequest, ChatResponse
from testbed.node.openai.formats import ChoicesFormat
from testbed.patterns.participant import (
    ANSWERING,
    Call,
    Claim,
    Completion,
    JobError,
    JobNames,
    Peer,
    Prompt,
    Record,
    Verification,
)

CHATS = "/v1/chat/completions"
VERIFICATIONS = "/v1/verifications"
DELEGATIONS = "/v1/delegations"
COUNTS = "/tokenize"

NO_RECORDS: Final[Mapping[str, Record]] = MappingProxyType({})

_Result = TypeVar("_Result")


class OwnModel(Protocol):
    """What a participant needs of its own node's inference."""

    async def complete(self, request: ChatRequest, job: str) -> Completion:
        """The completion of a named request; raises JobError."""

    def cancel(self, name: str, reason: str) -> None:
        """Nobody waits for the request called ``name`` any more."""

    async def count(self, request: ChatRequest) -> int:
        """The number of a chat's tokens; raises JobError."""

    async def vocabulary(self) -> str:
        """The hash of the model's tokens; raises JobError."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says; raises JobError."""


class NodeParticipant:
    """The node called ``config.name`` while it answers ``prompt``."""

    def __init__(
        self,
        config: NodeConfig,
        prompt: Prompt,
        own: OwnModel,
        asker: Asker,
        neighbourhood: Neighbourhood,
        log: EventWriter,
        records: Mapping[str, Record] = NO_RECORDS,
    ) -> None:
        self._config = config
        self._prompt = prompt
        self._own = own
        self._asker = asker
        self._neighbourhood = neighbourhood
        self._log = log
        self._records = records
        self._names = JobNames(prompt.id)

    @property
    def name(self) -> str:
        """The node's own name."""
        return self._config.name

    @property
    def itself(self) -> Peer:
        """The node's own model, tier and price."""
        return self._described(self.name)

    @property
    def peers(self) -> Sequence[Peer]:
        """All neighbours, in the order of the configuration."""
        present = set(self._neighbourhood.present())
        return [replace(self._described(name), present=name in present) for name in self._config.neighbours]

    @property
    def most_tokens(self) -> int:
        """Those that the prompt's answer has, else the scenario's `sampling.max_tokens`."""
        return self._prompt.tokens or self._config.max_tokens

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names``, derived from the run's seed."""
        return seeds.stream(self._config.seed, *names)

    def normalised(self, answer: str) -> str:
        """The normal form of an answer, by the normalisation of the run's scorer."""
        return normalised(answer, self._config.normalisation)

    async def complete(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> Completion:
        """The completion of ``call``; raises JobError."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        if call.begun and at is not None:
            raise JobError(f"{at.name} cannot go on with an answer of {self.name}; only its own model can")
        request = self._request(call)
        if at is None:
            name = self._names.job(call, self.name)
            completion = await self._within(timeout, name, self._own.complete(request, name))
        else:
            name = self._names.job(call, at.name)
            response = await self._asker.ask(at.name, CHATS, name, request, ChatResponse, timeout)
            completion = response.completion
            self._check_model(at, name, completion)
        return replace(completion, seconds=loop.time() - begin, by=self.name if at is None else at.name)

    async def room(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> int:
        """How many tokens an answer to ``call`` can have, none if its chat does not fit; raises JobError."""
        if at is None:
            count = await self._own.count(ChatRequest(messages=list(call.messages)))
            return max(0, self._config.context - count)
        request = CountRequest(messages=list(call.messages), metadata=self._metadata(call))
        name = self._names.repeated(f"{self._prompt.id}.{call.name}.room@{at.name}")
        response = await self._asker.ask(at.name, COUNTS, name, request, CountResponse, timeout)
        return max(0, response.max_model_len - response.count)

    async def delegate(self, prompt: Prompt, at: Peer, timeout: float | None = None) -> str:
        """The answer that ``at`` finds with its own pattern; raises JobError."""
        visited = (*self._prompt.visited, self.name)
        if at.name in visited:
            raise JobError(f"{at.name} delegated this prompt itself ({' → '.join(visited)}), so it cannot take it over")
        prompt = prompt.within(self._prompt)
        request = DelegationRequest(
            text=prompt.text,
            budget=prompt.budget,
            privacy=prompt.privacy,
            visited=visited,
            before=prompt.before,
            allowed=prompt.allowed,
            tokens=prompt.tokens,
        )
        name = self._names.repeated(f"{self._prompt.id}>{at.name}")
        timeout = prompt.budget.seconds if timeout is None else timeout
        response = await self._asker.ask(at.name, DELEGATIONS, name, request, DelegationResponse, timeout)
        return response.text

    async def verify(self, call: Call, tokens: Sequence[int], at: Peer, timeout: float | None = None) -> Verification:
        """How much of the answer ``tokens`` the model of ``at`` would have written; raises JobError."""
        request = VerificationRequest(
            messages=self._prompt.chat(call.messages),
            metadata=self._metadata(call),
            model=self._config.model,
            tokens=list(tokens),
            vocabulary=await self._own.vocabulary(),
            **_sampling(call),
        )
        name = self._names.job(call, at.name)
        response = await self._asker.ask(at.name, VERIFICATIONS, name, request, VerificationResponse, timeout)
        return response.verification

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens of the node's own model says; raises JobError."""
        return self._own.text_of(tokens)

    async def reaches(self, peer: Peer, timeout: float) -> bool:
        """Whether ``peer`` answers a ping within ``timeout`` seconds."""
        return await self._asker.knock(peer.name, timeout) is not None

    def disclose(self, to: Peer, text: str, *, masked: int, exposed: int) -> None:
        """Record the ``text`` that leaves the node's tier."""
        prompt = root(self._prompt.id)
        self._log.emit("disclosure", prompt=prompt, to=to.name, tier=to.tier, text=text, masked=masked, exposed=exposed)

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
        self._log.emit(
            "decision",
            prompt=root(self._prompt.id),
            **names,
            score=score,
            threshold=threshold,
            propensity=propensity,
            reason=reason,
        )

    def check(self, claims: Sequence[Claim]) -> None:
        """Ask the host to judge answers; its verdict comes back to the agent."""
        self._log.emit("check", prompt=root(self._prompt.id), claims=[asdict(claim) for claim in claims])

    def record(self, node: str) -> Record:
        """How the checked answers of ``node`` came out, as the host last said."""
        return self._records.get(node, Record())

    def exclude(self, nodes: Sequence[str]) -> None:
        """Record that the answers of ``nodes`` count for nothing, if there are any such nodes."""
        if nodes:
            self._log.emit("excluded", prompt=root(self._prompt.id), nodes=list(nodes))

    def _request(self, call: Call) -> ChatRequest:
        begun: dict[str, Any] = {"begun": list(call.begun)} if call.begun else {}
        kind = ContinuationRequest if call.begun else ChatRequest
        return kind(
            messages=self._prompt.chat(call.messages),
            metadata=self._metadata(call),
            response_format=self._format(call),
            **begun,
            **(_sampling(call) | self._length(call)),
        )

    def _length(self, call: Call) -> dict[str, int]:
        """What makes an answer as long as the prompt says."""
        if self._prompt.tokens is None or call.role not in ANSWERING:
            return {}
        return {"max_tokens": self._prompt.tokens, "ignore_eos": True}

    def _format(self, call: Call) -> ChoicesFormat | None:
        """What holds an answer to those that the prompt allows."""
        if not self._prompt.allowed or call.role not in ANSWERING:
            return None
        return ChoicesFormat(type="choices", choices=list(self._prompt.allowed))

    def _check_model(self, peer: Peer, job: str, completion: Completion) -> None:
        """Record that another model than that of ``peer`` has written; raises JobError if models are pinned."""
        expected = self._config.peers[peer.name].fingerprint if peer.name in self._config.peers else ""
        if not expected or completion.model == expected:
            return
        taken = self._config.models == "any"
        named = {"prompt": root(self._prompt.id), "job": job, "peer": peer.name}
        self._log.emit("foreign_model", **named, model=completion.model, expected=expected, taken=taken)
        if not taken:
            raise JobError(f"{peer.name} answered with another model than {peer.model}, and models are pinned")

    def _described(self, name: str) -> Peer:
        facts = self._config.peers
        return facts[name].peer(name) if name in facts else Peer(name)

    async def _within(self, timeout: float | None, name: str, work: Awaitable[_Result]) -> _Result:
        """The result of the node's own ``work``, whose request is cancelled if nobody waits for it any more."""
        try:
            async with asyncio.timeout(timeout):
                return await work
        except TimeoutError:
            self._own.cancel(name, "its deadline has passed")
            raise JobError(f"{self.name}: no answer within {timeout:g}s") from None
        except asyncio.CancelledError:
            self._own.cancel(name, "cancelled")
            raise

    def _metadata(self, call: Call) -> dict[str, str]:
        return {
            "prompt": root(self._prompt.id),
            "layer": str(call.layer),
            "role": call.role,
            "owner": self.name,
        }


def root(prompt: str) -> str:
    """The name of the prompt that a delegated one, ``p7>b``, stems from."""
    return prompt.partition(">")[0]


def _sampling(call: Call) -> dict[str, float | int]:
    overrides = call.sampling
    given = {
        "temperature": overrides.temperature,
        "top_p": overrides.top_p,
        "max_tokens": overrides.max_tokens,
        "seed": overrides.seed,
    }
    return {name: value for name, value in given.items() if value is not None}
