"""The HTTP APIs of a node.

On the emulated network, for other nodes and any client of the OpenAI API:

    POST /v1/chat/completions    one inference of this node's own model
    GET  /v1/models              the model's name

On the Unix socket, for the host, these and:

    POST /prompts                {"id": …, "text": …}: the pattern's answer, worked out once for each id
    GET  /neighbours             seconds that a request to each neighbour takes, null where it fails
"""

import itertools

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from testbed.node.agent import Agent, origin_of
from testbed.node.calls.asking import ATTEMPT, NAME, message_name
from testbed.node.calls.openai import ChatRequest, ChatResponse, ErrorDetail, ErrorResponse
from testbed.node.engine.queue import OverloadedError
from testbed.node.event_log import EventWriter
from testbed.patterns.participant import JobError, Prompt

LARGEST_REQUEST = 2**20
"""Bytes; a longer body is refused before it is read."""


class NodeApi:
    """The handlers, and the two applications that they make up."""

    def __init__(self, agent: Agent, log: EventWriter) -> None:
        self._agent = agent
        self._log = log
        self._numbers = itertools.count(1)

    def for_network(self) -> web.Application:
        """What other nodes may call."""
        application = web.Application(client_max_size=LARGEST_REQUEST, middlewares=[_in_openai_form])
        application.add_routes([web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._models)])
        return application

    def for_host(self) -> web.Application:
        """What the host may call besides."""
        application = self.for_network()
        application.add_routes([web.post("/prompts", self._prompt), web.get("/neighbours", self._neighbours)])
        return application

    async def _chat(self, http: web.Request) -> web.Response:
        body = await http.read()
        job = http.headers.get(NAME) or f"request-{next(self._numbers)}@{self._agent.config.name}"
        try:
            request = ChatRequest.model_validate_json(body)
        except ValidationError as error:
            return _refusal(400, "; ".join(map(_sentence, error.errors())))
        peer, attempt = origin_of(request).get("owner", ""), _attempt(http)
        self._log.emit("receive", message=message_name(job, "request", attempt), peer=peer, bytes=len(body))
        status, content = await self._completion(request, job)
        # Of an asker that has hung up, the socket is gone; one that was cut off may still be sent to.
        event = "late" if http.transport is None or http.transport.is_closing() else "send"
        self._log.emit(event, message=message_name(job, "response", attempt), peer=peer, bytes=len(content))
        return web.Response(status=status, body=content, content_type="application/json")

    async def _completion(self, request: ChatRequest, job: str) -> tuple[int, bytes]:
        """Status and body of the response."""
        try:
            completion = await self._agent.complete(request, job)
        except OverloadedError as error:
            return 503, _error(str(error), "server_error")
        except JobError as error:
            return 400, _error(str(error), "invalid_request_error")
        return 200, ChatResponse.of(completion, job, self._agent.config.model).model_dump_json().encode()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._agent.config.model, "object": "model"}]})

    async def _prompt(self, http: web.Request) -> web.Response:
        prompt = Prompt(**await http.json())
        try:
            return web.json_response({"text": await self._agent.answer(prompt)})
        except JobError as error:
            return _refusal(500, str(error))

    async def _neighbours(self, _: web.Request) -> web.Response:
        return web.json_response(await self._agent.reach())


@web.middleware
async def _in_openai_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What aiohttp itself refuses: a body that is too large, a path that is not there."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refusal(error.status, error.text or error.reason)


def _sentence(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"]))
    return f"{place}: {error['msg']}" if place else error["msg"]


def _attempt(http: web.Request) -> int:
    written = http.headers.get(ATTEMPT, "")
    return int(written) if written.isdecimal() else 1  # other clients do not count


def _refusal(status: int, message: str) -> web.Response:
    body = _error(message, "invalid_request_error")
    return web.Response(status=status, body=body, content_type="application/json")


def _error(message: str, kind: str) -> bytes:
    """An error in the form that clients of the OpenAI API know."""
    return ErrorResponse(error=ErrorDetail(message=message, type=kind)).model_dump_json().encode()
