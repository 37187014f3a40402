"""A foreign OpenAI-compatible server as tests play it: what it was asked, and every way in which it can misbehave."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

WORDS = ("The ", "capital ", "is ", "Paris.")


@dataclass
class ForeignServer:
    """Answers with ``WORDS``, one part a word. ``seen`` are bodies, ``keys`` the headers that came with them.

    ``times`` are the moments of each request's arrival and of the end of its answer, by CLOCK_MONOTONIC.
    """

    usage_in_streams: bool = True
    rejects: tuple[str, ...] = ()
    """Fields that it answers with 422."""
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    """Status, headers and message of answers before the first good one."""
    words: tuple[str, ...] = WORDS
    pause: float = 0.0
    """Seconds before each word."""
    breaks_after: int | None = None
    """Words after which the connection ends."""
    ends_after: int | None = None
    """Words after which the answer ends in good order, without a reason."""
    location: str = ""
    stuck: bool = False
    """Whether it says nothing after the first word."""
    error_after: str = ""
    """An error in the place of the end of a stream."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a client has left in the middle."""

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._complete)
        return application

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        begin = time.monotonic()
        body = await http.json()
        self.seen.append(body)
        self.keys.append(http.headers.get("Authorization"))
        if rejected := [name for name in self.rejects if name in body]:
            return web.json_response({"error": {"message": f"unknown field {rejected[0]}"}}, status=422)
        if self.refusals:
            status, headers, message = self.refusals.pop(0)
            return web.json_response({"error": {"message": message, "code": "theirs"}}, status=status, headers=headers)
        if self.location:
            return web.Response(status=307, headers={"Location": self.location})
        answer = self._streamed(http) if body.get("stream") else self._plain()
        try:
            response = await answer
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise
        self.times.append((begin, time.monotonic()))
        return response

    async def _plain(self) -> web.StreamResponse:
        await asyncio.sleep(self.pause * len(self.words))
        choice = {"index": 0, "message": {"role": "assistant", "content": "".join(self.words)}, "finish_reason": "stop"}
        return web.json_response({"id": "x", "choices": [choice], "usage": self._usage})

    async def _streamed(self, http: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(http)
        for number, word in enumerate(self.words):
            if number == self.breaks_after:
                assert http.transport is not None
                http.transport.abort()
                return response
            if number == self.ends_after:
                return response
            await asyncio.sleep(self.pause)
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            if self._wants_logprobs:
                choice["logprobs"] = {"content": [{"token": word, "logprob": -0.5 * number, "top_logprobs": []}]}
            await _send(response, {"choices": [choice]})
            if self.stuck:
                await asyncio.Event().wait()
        if self.error_after:
            await _send(response, {"error": {"message": self.error_after}})
            return response
        await _send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.usage_in_streams:
            await _send(response, {"choices": [], "usage": self._usage})
        await response.write(b": a comment\n\ndata: [DONE]\n\n")
        return response

    @property
    def _wants_logprobs(self) -> bool:
        return bool(self.seen[-1].get("logprobs"))

    @property
    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": 9, "completion_tokens": len(self.words), "total_tokens": 9 + len(self.words)}


async def _send(response: web.StreamResponse, part: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(part).encode() + b"\n\n")


@asynccontextmanager
async def foreign_server(
    server: ForeignServer, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The port at which ``server`` is served for as long as the context lasts."""
    runner = web.AppRunner(server.application(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, 0, ssl_context=tls)
        await site.start()
        port: int = runner.addresses[0][1]
        yield port
    finally:
        await runner.cleanup()
