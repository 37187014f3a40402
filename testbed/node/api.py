"""The HTTP APIs of a node.

On the emulated network, for other nodes and any client of the OpenAI API:

    POST /v1/chat/completions    this node's own model completes a chat
    POST /v1/completions         … or continues a text
    POST /v1/verifications       how much of a draft this node's model would have written itself
    POST /v1/delegations         the answer of this node's own pattern
    POST /tokenize               how many tokens a chat has
    DELETE /v1/calls/NAME        cancels a named request
    GET  /v1/models              the model; also by its name, /v1/models/NAME
    GET  /health                 whether the node serves

On the Unix socket, for the host, these and:

    POST /prompts                {"id": …, "text": …, "label": …, "before": …, "privacy": …, "allowed": …,
                                 "tokens": …}: the pattern's answer, worked out once for each id; "before" is the chat
                                 that leads to the question, "allowed" has the only answers that a model may give, if
                                 any, and "tokens" is how many an answer has, if that is said
    POST /feedback               {"prompt": …, "reward": …}: how right the answer to a prompt was, from 0 to 1
    PUT  /records                {"records": {NODE: {"right": …, "wrong": …}}}: how checked answers came out so far
    GET  /neighbours             seconds that a request to each neighbour takes, null where it fails
    GET  /events?after=BYTES     the event file behind its first BYTES: one JSON object a line
    GET  /events/stream?after=BYTES&every=SECONDS
                                 the same and all that is added, each event within SECONDS; never ends
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from testbed.core.chat import ChatMessage
from testbed.node.agent import Agent, origin_of
from testbed.node.calls.asking import CALLS, message_name
from testbed.node.calls.own import (
    CountRequest,
    CountResponse,
    DelegationRequest,
    DelegationResponse,
    VerificationRequest,
    VerificationResponse,
)
from testbed.node.event_log import EventWriter
from testbed.node.event_stream import EventApi
from testbed.node.generating import Generator, job_name, names
from testbed.node.incoming import (
    LARGEST_REQUEST,
    Incoming,
    Intake,
    RefusedError,
    ServerSentEvents,
    in_openai_form,
    refusal_of,
    serve,
)
from testbed.node.journal import UNNAMED
from testbed.node.openai.chats import ChatRequest
from testbed.node.openai.date import unix_time
from testbed.node.openai.generation import GenerationRequest
from testbed.node.openai.listing import Model, ModelList
from testbed.node.openai.texts import TextRequest
from testbed.node.participant import CHATS, COUNTS, DELEGATIONS, VERIFICATIONS
from testbed.node.transport.http import sender_of
from testbed.patterns.participant import JobError, Prompt, Record, Tier

_Request = TypeVar("_Request", bound=BaseModel)

_Work = Callable[[_Request, str, float | None], Coroutine[Any, Any, BaseModel]]
"""Does a request under its name, with so many seconds left."""

_NO_MODEL: Final = "model_not_found"


class _PromptRequest(BaseModel):
    """``POST /prompts``."""

    id: str
    text: str
    label: str = ""
    before: tuple[ChatMessage, ...] = ()
    privacy: Tier | None = None
    allowed: tuple[str, ...] = ()
    tokens: int | None = None

    @property
    def prompt(self) -> Prompt:
        """The prompt that is handed over."""
        return Prompt(
            self.id,
            self.text,
            privacy=self.privacy,
            label=self.label,
            before=self.before,
            allowed=self.allowed,
            tokens=self.tokens,
        )


class _FeedbackRequest(BaseModel):
    """``POST /feedback``."""

    prompt: str
    reward: float


class _RecordsRequest(BaseModel):
    """``PUT /records``."""

    records: dict[str, Record]


class NodeApi:
    """The handlers of both APIs."""

    def __init__(self, agent: Agent, log: EventWriter) -> None:
        self._agent = agent
        self._log = log
        self._intake = Intake()
        self._generator = Generator(agent)
        self._known = Model(id=agent.config.model, created=unix_time())
        self._numbers = itertools.count(1)
        self._exchanges: set[asyncio.Task[web.Response]] = set()  # asyncio itself keeps no reference to a task

    def for_network(self) -> web.Application:
        """The API on the emulated network."""
        application = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[in_openai_form])
        serve(application, *self._routes)
        return application

    def for_host(self) -> web.Application:
        """The API for the host."""
        application = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[in_openai_form])
        EventApi(self._log).add_to(application)
        own = (
            web.post("/prompts", self._prompt),
            web.post("/feedback", self._feedback),
            web.put("/records", self._note),
            web.get("/neighbours", self._neighbours),
        )
        serve(application, *self._routes, *own)
        return application

    @property
    def _routes(self) -> list[web.RouteDef]:
        return [
            web.post(CHATS, self._chat),
            web.post("/v1/completions", self._text),
            web.post(VERIFICATIONS, self._verifications),
            web.post(DELEGATIONS, self._delegations),
            web.post(COUNTS, self._counts),
            web.delete(f"{CALLS}/{{name}}", self._calls),
            web.get("/v1/models", self._models),
            web.get("/v1/models/{name:.+}", self._model),
            web.get("/health", self._health),
        ]

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        incoming = await self._intake.read(http, ChatRequest, self._agent.check)
        return await self._generated(http, incoming, self._generator.chat)

    async def _text(self, http: web.Request) -> web.StreamResponse:
        incoming = await self._intake.read(http, TextRequest, self._agent.check)
        return await self._generated(http, incoming, self._generator.text)

    async def _verifications(self, http: web.Request) -> web.Response:
        return await self._answered(http, await self._intake.read(http, VerificationRequest), self._verify)

    async def _delegations(self, http: web.Request) -> web.Response:
        return await self._answered(http, await self._intake.read(http, DelegationRequest), self._take_over)

    async def _counts(self, http: web.Request) -> web.Response:
        return await self._answered(http, await self._intake.read(http, CountRequest), self._count)

    async def _calls(self, http: web.Request) -> web.Response:
        name = http.match_info["name"]
        self._agent.cancel(name, "cancelled")
        others = (job_name(name, number) for number in itertools.count(1))
        for job in itertools.takewhile(self._agent.knows, others):
            self._agent.cancel(job, "cancelled")
        return web.Response(status=204)

    async def _verify(self, request: VerificationRequest, name: str, seconds: float | None) -> BaseModel:
        return VerificationResponse.of(await self._agent.verify(request, name, seconds))

    async def _count(self, request: CountRequest, name: str, seconds: float | None) -> BaseModel:
        del name, seconds
        return CountResponse(count=await self._agent.count(request), max_model_len=self._agent.config.context)

    async def _take_over(self, request: DelegationRequest, name: str, seconds: float | None) -> BaseModel:
        return DelegationResponse(text=await self._agent.take_over(request, name, seconds))

    def _check_sender(self, http: web.Request, request: BaseModel) -> None:
        """Raise RefusedError if the sender is known, and the request says that it is another node's."""
        sender, said = sender_of(http), _asker(request)
        if sender is not None and said not in ("", sender):
            self._log.emit("impersonated", peer=sender, said=said)
            raise RefusedError(403, f"{sender} asks in the name of {said}", "metadata")

    async def _generated(
        self, http: web.Request, incoming: Incoming[_Request], plain: _Work[_Request]
    ) -> web.StreamResponse:
        """The response to a request for completions: plain, or as a stream."""
        request = incoming.content
        assert isinstance(request, GenerationRequest)
        known = self._agent.config.model
        if request.model not in ("", known):
            raise RefusedError(404, f"there is no model {request.model!r}; this node has {known}", "model", _NO_MODEL)
        if request.stream:
            return await self._streamed(http, incoming, request)
        return await self._answered(http, incoming, plain)

    async def _answered(self, http: web.Request, incoming: Incoming[_Request], work: _Work[_Request]) -> web.Response:
        """The response to a request. A named one outlives its connection; one without a name ends with it."""
        self._check_sender(http, incoming.content)
        name, seconds = incoming.headers.name, incoming.headers.seconds
        if name:
            # aiohttp cancels the handler of a connection that ends. What it waits for goes on, and is traced as late.
            exchange = asyncio.create_task(self._exchange(http, incoming, name, work(incoming.content, name, seconds)))
            self._exchanges.add(exchange)
            exchange.add_done_callback(self._exchanges.discard)
            return await asyncio.shield(exchange)
        name = self._new_name()
        try:
            return await self._exchange(http, incoming, name, work(incoming.content, name, seconds))
        finally:
            self._abandon(incoming.content, name)

    async def _streamed(
        self, http: web.Request, incoming: Incoming[Any], request: GenerationRequest
    ) -> web.StreamResponse:
        """A response that is sent while it is worked out. Names count as for one that is not."""
        self._check_sender(http, request)
        name = incoming.headers.name or self._new_name()
        peer, attempt = _asker(request), incoming.headers.attempt
        self._log.emit("receive", message=message_name(name, "request", attempt), peer=peer, bytes=incoming.size)
        response, event, size = ServerSentEvents(http), "late", 0
        try:
            async with aclosing(self._generator.events(request, name, incoming.headers.seconds)) as parts:
                async for part in parts:
                    size += await response.send(part)
            event = "send"
        except JobError as error:
            size += await response.fail(refusal_of(error))
            event = "send"
        except ConnectionError:  # the client has left
            pass
        finally:
            self._log.emit(event, message=message_name(name, "response", attempt), peer=peer, bytes=size)
            if not incoming.headers.name:
                self._abandon(request, name)
        return response.response

    def _new_name(self) -> str:
        """A name that no client has given to a request of its own."""
        names = (f"{UNNAMED}{number}@{self._agent.config.name}" for number in self._numbers)
        return next(name for name in names if not self._agent.knows(name))

    def _abandon(self, request: BaseModel, name: str) -> None:
        """Keep nothing of a request without a name: its connection has ended, or it has its response."""
        for job in names(request, name) if isinstance(request, GenerationRequest) else [name]:
            self._agent.abandon(job)

    async def _exchange(
        self, http: web.Request, incoming: Incoming[Any], name: str, work: Coroutine[Any, Any, BaseModel]
    ) -> web.Response:
        peer, attempt = _asker(incoming.content), incoming.headers.attempt
        self._log.emit("receive", message=message_name(name, "request", attempt), peer=peer, bytes=incoming.size)
        status, content = await _outcome(work)
        # Of an asker that has hung up, the socket is gone; one that was cut off may still be sent to.
        event = "late" if http.transport is None or http.transport.is_closing() else "send"
        self._log.emit(event, message=message_name(name, "response", attempt), peer=peer, bytes=len(content))
        return web.Response(status=status, body=content, content_type="application/json")

    async def _models(self, _: web.Request) -> web.Response:
        return _json(ModelList(data=[self._known]))

    async def _model(self, http: web.Request) -> web.Response:
        if (name := http.match_info["name"]) != self._known.id:
            raise RefusedError(404, f"there is no model {name!r}; this node has {self._known.id}", "model", _NO_MODEL)
        return _json(self._known)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _prompt(self, http: web.Request) -> web.Response:
        asked = (await self._intake.read(http, _PromptRequest)).content
        try:
            return web.json_response({"text": await self._agent.answer(asked.prompt)})
        except JobError as error:
            raise RefusedError(500, str(error)) from None

    async def _feedback(self, http: web.Request) -> web.Response:
        told = (await self._intake.read(http, _FeedbackRequest)).content
        self._agent.learn(told.prompt, told.reward)
        return web.Response(status=204)

    async def _note(self, http: web.Request) -> web.Response:
        self._agent.note((await self._intake.read(http, _RecordsRequest)).content.records)
        return web.Response(status=204)

    async def _neighbours(self, _: web.Request) -> web.Response:
        return web.json_response(await self._agent.reach())


async def _outcome(work: Coroutine[Any, Any, BaseModel]) -> tuple[int, bytes]:
    """Status and body of the response."""
    try:
        return 200, (await work).model_dump_json(exclude_none=True).encode()
    except JobError as error:
        refusal = refusal_of(error)
        return refusal.status, refusal.body


def _json(content: BaseModel) -> web.Response:
    return web.Response(body=content.model_dump_json().encode(), content_type="application/json")


def _asker(request: BaseModel) -> str:
    """The node that sent a request; empty where it is another client's."""
    if isinstance(request, DelegationRequest):
        return request.visited[-1]
    return origin_of(request).get("owner", "") if isinstance(request, GenerationRequest) else ""
