"""What a pattern sees of the node that it runs on, and of that node's peers."""

import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, Self, TypeVar, get_args

from pydantic import Field

from testbed.core.chat import ChatMessage as ChatMessage  # patterns find all that they need here
from testbed.core.spec import Spec

Tier = Literal["device", "edge", "cloud"]
"""Where a node stands, from the nearest to the user to the farthest."""

_Number = TypeVar("_Number", int, float)

_DECIMALS: Final = 6  # logits have 32 bits, so further ones mean nothing, and cost bytes on the links

ANSWERING: Final = ("answer", "aggregation")
"""The roles of calls that ask for an answer to the prompt."""

_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]+")


class JobError(Exception):
    """A call, delegation or verification has no result; the message is the reason."""


class Price(Spec):
    """What a node asks for a million tokens that it reads, and for a million that it writes, in a currency of yours."""

    input: float = Field(ge=0, allow_inf_nan=False)
    output: float = Field(ge=0, allow_inf_nan=False)

    def of(self, read: int, written: int) -> float:
        """The price of so many tokens."""
        return (read * self.input + written * self.output) / 1e6


class PlainText(tuple[ChatMessage, ...]):
    """A chat that is one text, which the model continues as it stands, without its chat template."""

    __slots__ = ()

    @classmethod
    def of(cls, text: str) -> Self:
        """The chat that is ``text``."""
        return cls([{"role": "user", "content": text}])


@dataclass(frozen=True)
class Budget:
    """What a prompt may still cost: seconds, tokens written, and money in the currency of :class:`Price`.

    None is no limit. The pattern lowers the budget before it delegates; nothing else does.
    """

    seconds: float | None = None
    tokens: int | None = None
    price: float | None = None

    def within(self, other: Self) -> Self:
        """The lower limit of both budgets, for each part."""
        return type(self)(
            _lower(self.seconds, other.seconds), _lower(self.tokens, other.tokens), _lower(self.price, other.price)
        )


@dataclass(frozen=True)
class Prompt:
    """A question that arrived at a node.

    ``before`` is the chat that leads to the question: a system message, examples, earlier turns. Every call that the
    prompt needs begins with it, without the pattern's doing. ``privacy`` is the farthest tier that may read the prompt,
    None if every tier may. ``visited`` names the nodes that delegated it, the owner first. ``label`` is the subject of
    the question, such as ``private``. ``allowed`` are the only answers that a model may give, if any;
    ``tokens`` is how many an answer has, if that is said.
    """

    id: str
    text: str
    budget: Budget = Budget()
    privacy: Tier | None = None
    visited: tuple[str, ...] = ()
    label: str = ""
    before: tuple[ChatMessage, ...] = ()
    allowed: tuple[str, ...] = ()
    tokens: int | None = None

    def chat(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """``messages`` of a call after the chat that leads to the question; two system messages become one."""
        if self.before and self.before[0]["role"] == "system" == messages[0]["role"]:
            system = f"{self.before[0]['content']}\n\n{messages[0]['content']}"
            return [{"role": "system", "content": system}, *self.before[1:], *messages[1:]]
        return [*self.before, *messages]

    def within(self, other: Self) -> Self:
        """This prompt under the stricter budget and privacy of both."""
        tiers = [tier for tier in (self.privacy, other.privacy) if tier is not None]
        privacy = min(tiers, key=get_args(Tier).index, default=None)
        return replace(self, budget=self.budget.within(other.budget), privacy=privacy)


@dataclass(frozen=True)
class SamplingOverrides:
    """How tokens of one call are drawn. None leaves what the scenario says of the node."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Call:
    """One completion that a prompt needs.

    ``id`` names the call within its prompt, and is the layer if left out. The call's job is ``PROMPT.ID@NODE``, from
    which its sampling seed is derived. A second call with the same id and node is ``PROMPT.ID.2@NODE``: an inference of
    its own, with a seed of its own. Calls that run side by side with different chats need different ids, or their names
    would depend on which begins first.

    ``layer`` counts from 1. ``role`` groups calls in results: ``answer`` reads the prompt alone, ``aggregation``
    responses, too; others are the pattern's own. ``begun`` are tokens that the answer begins with, for a call to the
    node's own model; its completion is what comes after them.
    """

    messages: Sequence[ChatMessage]
    layer: int = 1
    role: str = "answer"
    id: str = ""
    sampling: SamplingOverrides = SamplingOverrides()
    begun: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.messages:
            raise ValueError("a call needs at least one message")
        if self.id and not _CALL_ID.fullmatch(self.id):
            raise ValueError(f"the id of a call is letters, digits, _ and -; {self.id!r} is not")

    @classmethod
    def of(cls, text: str, layer: int = 1, role: str = "answer", id: str = "") -> Self:
        """A call whose chat is one message of the user."""
        return cls([{"role": "user", "content": text}], layer, role, id)

    @property
    def name(self) -> str:
        """The id, or the layer in its place."""
        return self.id or str(self.layer)


@dataclass(frozen=True)
class LogProbabilities:
    """The natural logarithms of the probabilities of an answer's tokens, summed up.

    A token's probability is the softmax of the model's logits, before temperature, top-k and top-p. The token that ends
    an answer is not counted. ``tenth_percentile`` is by nearest rank.
    """

    sum: float
    mean: float
    least: float
    tenth_percentile: float
    first: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """The summary of an answer's tokens in their order; None without a token."""
        if not values:
            return None
        total, ascending = math.fsum(values), sorted(values)
        tenth = ascending[math.ceil(len(values) / 10) - 1]
        parts = (total, total / len(values), ascending[0], tenth, values[0])
        return cls(*(round(part, _DECIMALS) for part in parts))


@dataclass(frozen=True)
class TokenLogProbability:
    """A token that was drawn, the logarithm of its probability, and the most likely tokens at its place with theirs.

    ``token`` are the bytes that it stands for, which may be a part of a character.
    """

    token: bytes
    logprob: float
    alternatives: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True)
class Completion:
    """What a model wrote.

    ``prompt_tokens`` were read and ``tokens`` written. ``stopped`` says that the model ended by itself; otherwise it
    reached its limit of tokens. ``seconds`` is the time from the call to its completion, for whoever called: queueing
    and network included. ``by`` is the node that was called. ``model`` is the fingerprint of the model that wrote, as
    that node says, and empty where nobody says. ``token_ids`` are the tokens written, and known of a node's own model
    alone; so are ``token_logprobs``, where they were asked for.
    """

    text: str
    prompt_tokens: int
    tokens: int
    stopped: bool
    logprobs: LogProbabilities | None = None
    token_ids: tuple[int, ...] = field(default=(), compare=False)
    token_logprobs: tuple[TokenLogProbability, ...] = field(default=(), compare=False)
    seconds: float = field(default=0.0, compare=False)
    by: str = field(default="", compare=False)
    model: str = field(default="", compare=False)


@dataclass(frozen=True)
class Claim:
    """An answer of the node ``by``, and how sure that node was, from 0 to 1."""

    by: str
    text: str
    weight: float


@dataclass(frozen=True)
class Record:
    """How a node's checked answers came out: the sums of their weights, of ``right`` and of ``wrong`` ones.

    An answer with a score of 0.25 is right to a quarter, and wrong to three.
    """

    right: float = 0.0
    wrong: float = 0.0

    def with_answer(self, weight: float, score: float) -> Self:
        """The record with one more answer."""
        return type(self)(self.right + weight * score, self.wrong + weight * (1 - score))


@dataclass(frozen=True)
class Verification:
    """How many tokens of a draft, from its first on, a model would have written itself, and the token it writes next.

    ``next`` is None where the model ends its answer there. ``prompt_tokens`` of the chat were read.
    """

    accepted: int
    next: int | None
    prompt_tokens: int = 0


@dataclass(frozen=True)
class Peer:
    """A node, as the topology describes it. ``tier`` and ``price`` are None where the topology does not say them.

    ``linked`` says that no further node is between the two. ``present`` says that heartbeats are heard; without
    ``membership`` every peer counts as present. ``links`` names the nodes that are linked to the peer in that sense.
    """

    name: str
    model: str = ""
    tier: Tier | None = None
    price: Price | None = None
    linked: bool = True
    present: bool = True
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What the files say of a node, and of the peers that it may call. A call writes up to ``most_tokens``."""

    itself: Peer
    peers: Sequence[Peer]
    most_tokens: int = 1


@dataclass(frozen=True)
class Answer:
    """A pattern's answer. ``votes`` is the share of the votes that it has, from 0 to 1; None where nobody voted."""

    text: str
    votes: float | None = None


class JobNames:
    """The names of the jobs and requests of the prompt called ``prompt``, each given once."""

    def __init__(self, prompt: str) -> None:
        self._prompt = prompt
        self._used: Counter[str] = Counter()

    def job(self, call: Call, node: str) -> str:
        """The name of a new job: ``PROMPT.ID@NODE``, and ``PROMPT.ID.2@NODE`` of the second with that id there."""
        name = f"{self._prompt}.{call.name}"
        number = self._count(f"{name}@{node}")
        return f"{name}@{node}" if number == 1 else f"{name}.{number}@{node}"

    def repeated(self, name: str) -> str:
        """``name``, and ``name.2`` at the second time."""
        number = self._count(name)
        return name if number == 1 else f"{name}.{number}"

    def _count(self, name: str) -> int:
        self._used[name] += 1
        return self._used[name]


class Participant(Protocol):
    """The node that has a prompt, as the pattern sees it while it answers that prompt."""

    @property
    def name(self) -> str:
        """The node's own name."""

    @property
    def itself(self) -> Peer:
        """The node's own model, tier and price."""

    @property
    def peers(self) -> Sequence[Peer]:
        """The nodes that it may call, in the order of the topology."""

    @property
    def most_tokens(self) -> int:
        """The most tokens that a call writes unless its sampling says otherwise."""

    def random(self, *names: object) -> random.Random:
        """A generator for the subject ``names``, derived from the run's seed."""

    def normalised(self, answer: str) -> str:
        """The normal form in which the run's scorer compares answers: equal ones say the same. Empty if it has none."""

    async def complete(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> Completion:
        """The completion of ``call`` by the model of ``at``, or by the node's own model; raises JobError.

        ``timeout`` is in seconds; without one, the call waits until it ends. A call that times out, or whose task is
        cancelled, leaves the queue it waits in. An inference that has begun runs to its end.
        """

    async def room(self, call: Call, at: Peer | None = None, timeout: float | None = None) -> int:
        """How many tokens an answer to ``call`` can have at ``at``, or at the node itself; raises JobError.

        0 if the chat does not fit the model's context. Asking costs no inference, but a message in each direction.
        """

    async def delegate(self, prompt: Prompt, at: Peer, timeout: float | None = None) -> str:
        """The answer that ``at`` finds with its own pattern; raises JobError.

        Budget and privacy travel along, at least as strict as those of the prompt that the node has, and so do the
        nodes visited. A node that was visited is refused. Without ``timeout``, the budget's seconds count.
        """

    async def verify(self, call: Call, tokens: Sequence[int], at: Peer, timeout: float | None = None) -> Verification:
        """How much of the answer ``tokens`` to ``call`` the model of ``at`` would have written; raises JobError.

        The models must have equal vocabularies.
        """

    def text_of(self, tokens: Sequence[int]) -> str:
        """What an answer of these tokens says, in the vocabulary of the node's own model; raises JobError."""

    async def reaches(self, peer: Peer, timeout: float) -> bool:
        """Whether ``peer`` answers a ping within ``timeout`` seconds. It needs no inference for that."""

    def disclose(self, to: Peer, text: str, *, masked: int, exposed: int) -> None:
        """Record the ``text`` that leaves the node's tier, with ``masked`` secrets hidden and ``exposed`` verbatim."""

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
        """Record that the prompt goes from ``source`` on to ``to``; None is the node itself.

        ``propensity`` is the probability with which the pattern decides so.
        """

    def check(self, claims: Sequence[Claim]) -> None:
        """Have the run judge answers to the prompt. They count for the records that all nodes see.

        Nobody is told the truth, and nothing waits for the verdict.
        """

    def record(self, node: str) -> Record:
        """How the answers of ``node`` came out that have been checked so far."""

    def exclude(self, nodes: Sequence[str]) -> None:
        """Record that the answers of ``nodes`` to the prompt count for nothing."""


def _lower(one: _Number | None, other: _Number | None) -> _Number | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
