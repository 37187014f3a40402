"""Requests as they come in: here they become typed values, and every refusal has the form of OpenAI's errors.

A body is limited in size and in time, and only a few large ones are in memory at once. So clients cannot make a node
hold more than it has.
"""

import asyncio
import ctypes
import logging
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails

from testbed.node.calls.asking import ATTEMPT, DEADLINE, NAME
from testbed.node.calls.requests import NameTakenError
from testbed.node.engine.chat import ContextOverflowError
from testbed.node.engine.queue import NotDoneError
from testbed.node.openai.errors import ErrorResponse
from testbed.node.transport.http import body_of
from testbed.patterns.participant import JobError

Content = TypeVar("Content", bound=BaseModel)

LARGEST_REQUEST: Final = 2**20
"""Bytes; a longer body is refused before it is read."""

_NAMES: Final = (NAME, ATTEMPT, DEADLINE)
_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", int)  # glibc's alone
_SMALL: Final = 2**16  # bytes of a body that is read at once, whatever else is being read
_LARGE_AT_ONCE: Final = 2
_MOST_MISTAKES: Final = 10  # that one refusal names
_READING: Final = 60.0  # seconds that a client has for sending a body

OVERFLOW: Final = "context_length_exceeded"
"""The code of the error that a chat is too long."""


class RefusedError(Exception):
    """A request is refused with ``status``; the message is the reason."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    @property
    def body(self) -> bytes:
        """The body of the response."""
        return ErrorResponse.of(self.status, str(self), self.param, self.code).model_dump_json().encode()


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must be printable UTF-8")
    return name


def _duration(written: str) -> float:
    try:
        if (seconds := float(written)) >= 0 and math.isfinite(seconds):
            return seconds
    except ValueError:
        pass
    raise ValueError(f"{written!r} is no number of seconds")


class Headers(BaseModel):
    """What the headers say of a request. An empty ``name`` means that it has none."""

    name: Annotated[str, AfterValidator(_printable)] = Field("", alias=NAME, max_length=1000)
    attempt: int = Field(1, alias=ATTEMPT, ge=1, le=1_000_000)
    seconds: Annotated[float | None, BeforeValidator(_duration)] = Field(None, alias=DEADLINE)

    @classmethod
    def of(cls, http: web.Request) -> "Headers":
        """The headers of a request; raises ValidationError."""
        return cls.model_validate({name: http.headers[name] for name in _NAMES if name in http.headers})


@dataclass(frozen=True)
class Incoming(Generic[Content]):
    """A request that has come in. ``size`` is that of its body, in bytes."""

    content: Content
    headers: Headers
    size: int


def _accept(content: BaseModel) -> None:
    del content


class Intake:
    """Reads requests."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(
        self, http: web.Request, kind: type[Content], check: Callable[[Content], None] = _accept
    ) -> Incoming[Content]:
        """A request whose body is of the form ``kind``; raises RefusedError, also where ``check`` raises JobError.

        Until it is checked, a large body counts among the few that are in memory.
        """
        headers = parsed(lambda: Headers.of(http))
        if http.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RefusedError(
                400, "Content-Encoding: encoded bodies are not supported; send the body as it is", "Content-Encoding"
            )
        async with nullcontext() if _is_small(http) else self._large:
            body = await _body(http)
            content = parsed(lambda: kind.model_validate_json(body))
            try:
                check(content)
            except JobError as error:
                raise refusal_of(error) from None
            return Incoming(content, headers, len(body))


def _is_small(http: web.Request) -> bool:
    return not http.can_read_body or (http.content_length is not None and http.content_length <= _SMALL)


def parsed(parse: Callable[[], Content]) -> Content:
    """What ``parse`` returns; raises RefusedError with all that pydantic finds wrong."""
    try:
        return parse()
    except ValidationError as error:
        raise _refusal_of(error.errors(include_url=False, include_context=False)) from None


def refusal_of(error: JobError) -> RefusedError:
    """The response to a request whose work ended with ``error``."""
    match error:
        case NotDoneError():
            return RefusedError(503, str(error))
        case NameTakenError():
            return RefusedError(409, str(error), NAME)
        case ContextOverflowError():
            return RefusedError(400, str(error), "messages", OVERFLOW)
        case _:
            return RefusedError(400, str(error))


class ServerSentEvents:
    """A response of server-sent events. Its status is open until the first one is there."""

    def __init__(self, http: web.Request) -> None:
        self._http = http
        self.response: web.StreamResponse = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )

    async def send(self, event: bytes) -> int:
        """Send an event; returns its size. Raises ConnectionError if the client has left."""
        if not self.response.prepared:
            await self.response.prepare(self._http)
        await self.response.write(event)
        return len(event)

    async def fail(self, refusal: RefusedError) -> int:
        """Say that the request has failed: by the response's status, or by an event if that has been sent."""
        if self.response.prepared:
            return await self.send(b"data: " + refusal.body + b"\n\n")
        self.response = web.Response(status=refusal.status, body=refusal.body, content_type="application/json")
        return len(refusal.body)


def serve(application: web.Application, *routes: web.RouteDef) -> None:
    """Serve ``routes`` and those that the application has; every other path and method is refused.

    Both without aiohttp's own answer to the header Expect, which fails at bytes that are no UTF-8.
    """
    last = web.route("*", "/{path:.*}", _nothing)
    for route in (*routes, last):
        web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, "expect_handler": _go_on}).register(
            application.router
        )


async def _nothing(http: web.Request) -> web.StreamResponse:
    methods = {route.method for route in http.app.router.routes() if _path(route) == http.path}
    if not methods:
        raise RefusedError(404, f"there is nothing at {http.path}")
    raise RefusedError(405, f"{http.path} takes {', '.join(sorted(methods))}")


def _path(route: web.AbstractRoute) -> str:
    return "" if route.resource is None else route.resource.canonical


async def _go_on(http: web.Request) -> None:
    if http.transport is not None and http.headers["Expect"].lower() == "100-continue":
        http.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


@web.middleware
async def in_openai_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in one form: a refusal, what aiohttp itself refuses, and what nobody expected."""
    small = _is_small(request)
    try:
        return await handler(request)
    except RefusedError as error:
        return _response(error)
    except web.HTTPException as error:
        return _response(RefusedError(error.status, error.text or error.reason))
    except Exception:
        logging.exception("%s %s", request.method, request.path)
        return _response(RefusedError(500, "the node failed at this request; its log says why"))
    finally:
        if not small:  # the C library keeps what was freed, unless it is told
            asyncio.get_running_loop().call_soon(_trim, 0)


def _response(refusal: RefusedError) -> web.Response:
    return web.Response(status=refusal.status, body=refusal.body, content_type="application/json")


async def _body(http: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_READING):
            return await body_of(http)
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {_READING:g}s") from None
    except ConnectionError as error:
        raise RefusedError(400, str(error)) from None


def _refusal_of(errors: Iterable[ErrorDetails]) -> RefusedError:
    first, *_ = errors = list(errors)
    place = str(first["loc"][0]) if first["loc"] else None
    return RefusedError(400, "; ".join(dict.fromkeys(map(_sentence, errors[:_MOST_MISTAKES]))), place)


def _sentence(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{place}: is not supported"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
