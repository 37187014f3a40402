"""The HTTP APIs of a node.

On the emulated network, for other nodes and any client of the OpenAI API:

    POST /v1/chat/completions    one inference of this node's own model
    POST /v1/verifications       how much of a draft this node's model would have written itself
    POST /v1/delegations         the answer of this node's own pattern
    DELETE /v1/calls/NAME        cancels a named request
    GET  /v1/models              the model's name

On the Unix socket, for the host, these and:

    POST /prompts                {"id": …, "text": …, "label": …}: the pattern's answer, worked out once for each id
    GET  /neighbours             seconds that a request to each neighbour takes, null where it fails
    GET  /events?after=BYTES     the event file behind its first BYTES: one JSON object a line
    GET  /events/stream?after=BYTES&every=SECONDS
                                 the same and all that is added, each event within SECONDS; never ends
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from testbed.node.agent import Agent, origin_of
from testbed.node.calls.asking import CALLS, message_name
from testbed.node.calls.own import DelegationRequest, DelegationResponse, VerificationRequest, VerificationResponse
from testbed.node.event_log import EventWriter
from testbed.node.event_stream import EventApi
from testbed.node.incoming import LARGEST_REQUEST, Incoming, Intake, RefusedError, in_openai_form, refusal_of
from testbed.node.journal import UNNAMED
from testbed.node.openai.chats import ChatRequest, ChatResponse
from testbed.node.participant import CHATS, DELEGATIONS, VERIFICATIONS
from testbed.patterns.participant import JobError, Prompt

_Request = TypeVar("_Request", bound=BaseModel)

_Work = Callable[[_Request, str, float | None], Coroutine[Any, Any, BaseModel]]
"""Does a request under its name, with so many seconds left."""


class _PromptRequest(BaseModel):
    """``POST /prompts``."""

    id: str
    text: str
    label: str = ""


class NodeApi:
    """The handlers of both APIs."""

    def __init__(self, agent: Agent, log: EventWriter) -> None:
        self._agent = agent
        self._log = log
        self._intake = Intake()
        self._numbers = itertools.count(1)
        self._exchanges: set[asyncio.Task[web.Response]] = set()  # asyncio itself keeps no reference to a task

    def for_network(self) -> web.Application:
        """The API on the emulated network."""
        application = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[in_openai_form])
        application.add_routes(
            [
                web.post(CHATS, self._chat),
                web.post(VERIFICATIONS, self._verifications),
                web.post(DELEGATIONS, self._delegations),
                web.delete(f"{CALLS}/{{name}}", self._calls),
                web.get("/v1/models", self._models),
            ]
        )
        return application

    def for_host(self) -> web.Application:
        """The API for the host."""
        application = self.for_network()
        application.add_routes([web.post("/prompts", self._prompt), web.get("/neighbours", self._neighbours)])
        EventApi(self._log).add_to(application)
        return application

    async def _chat(self, http: web.Request) -> web.Response:
        return await self._answered(http, ChatRequest, self._complete)

    async def _verifications(self, http: web.Request) -> web.Response:
        return await self._answered(http, VerificationRequest, self._verify)

    async def _delegations(self, http: web.Request) -> web.Response:
        return await self._answered(http, DelegationRequest, self._take_over)

    async def _calls(self, http: web.Request) -> web.Response:
        self._agent.cancel(http.match_info["name"], "cancelled")
        return web.Response(status=204)

    async def _complete(self, request: ChatRequest, name: str, seconds: float | None) -> BaseModel:
        completion = await self._agent.complete(request, name, seconds)
        return ChatResponse.of(completion, name, self._agent.config.model)

    async def _verify(self, request: VerificationRequest, name: str, seconds: float | None) -> BaseModel:
        return VerificationResponse.of(await self._agent.verify(request, name, seconds))

    async def _take_over(self, request: DelegationRequest, name: str, seconds: float | None) -> BaseModel:
        return DelegationResponse(text=await self._agent.take_over(request, name, seconds))

    async def _answered(self, http: web.Request, kind: type[_Request], work: _Work[_Request]) -> web.Response:
        """The response to a request. A named one outlives its connection; one without a name ends with it."""
        incoming = await self._intake.read(http, kind)
        name, seconds = incoming.headers.name, incoming.headers.seconds
        if name:
            # aiohttp cancels the handler of a connection that ends. What it waits for goes on, and is traced as late.
            exchange = asyncio.create_task(self._exchange(http, incoming, name, work(incoming.content, name, seconds)))
            self._exchanges.add(exchange)
            exchange.add_done_callback(self._exchanges.discard)
            return await asyncio.shield(exchange)
        name = f"{UNNAMED}{next(self._numbers)}@{self._agent.config.name}"
        try:
            return await self._exchange(http, incoming, name, work(incoming.content, name, seconds))
        except asyncio.CancelledError:
            self._agent.cancel(name, "its connection has ended")
            raise
        finally:
            self._agent.forget(name)

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
        return web.json_response({"object": "list", "data": [{"id": self._agent.config.model, "object": "model"}]})

    async def _prompt(self, http: web.Request) -> web.Response:
        asked = (await self._intake.read(http, _PromptRequest)).content
        try:
            prompt = Prompt(asked.id, asked.text, label=asked.label)
            return web.json_response({"text": await self._agent.answer(prompt)})
        except JobError as error:
            raise RefusedError(500, str(error)) from None

    async def _neighbours(self, _: web.Request) -> web.Response:
        return web.json_response(await self._agent.reach())


async def _outcome(work: Coroutine[Any, Any, BaseModel]) -> tuple[int, bytes]:
    """Status and body of the response."""
    try:
        response = await work
    except JobError as error:
        refusal = refusal_of(error)
        return refusal.status, refusal.body
    return 200, response.model_dump_json(exclude=_absent(response)).encode()


def _absent(response: BaseModel) -> set[str]:
    """The optional part of a response, where it is left out: other clients know nothing of it."""
    return {"logprobs_summary"} if getattr(response, "logprobs_summary", response) is None else set()


def _asker(request: BaseModel) -> str:
    """The node that sent a request; empty where it is another client's."""
    if isinstance(request, DelegationRequest):
        return request.visited[-1]
    return origin_of(request).get("owner", "") if isinstance(request, ChatRequest) else ""
