"""The events of a node on their way to the host: what the event file holds, and every line that is added to it.

The file is the only buffer. A reader names the bytes that it has taken in, so it goes on where it was after the node's
restart, and neither loses an event nor gets one twice.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from testbed.node.event_log import EventWriter

_CHUNK: Final = 2**16  # bytes


class EventApi:
    """The routes of the host's API that give a node's events."""

    def __init__(self, log: EventWriter) -> None:
        self._log = log
        self._streams: set[asyncio.Task[None]] = set()

    def add_to(self, application: web.Application) -> None:
        """Serve ``GET /events`` and ``GET /events/stream``."""
        application.add_routes([web.get("/events", self._events), web.get("/events/stream", self._stream)])
        application.on_shutdown.append(self._end_streams)

    async def _events(self, http: web.Request) -> web.Response:
        with self._log.path.open("rb") as file:
            file.seek(int(_number(http, "after")))
            return web.Response(body=file.read(), content_type="application/x-ndjson")

    async def _stream(self, http: web.Request) -> web.StreamResponse:
        after, every = int(_number(http, "after")), _number(http, "every")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(http)
        # A task of its own: the shutdown of the node must not wait for streams, which never end.
        stream = asyncio.ensure_future(self._send(response, after, every))
        self._streams.add(stream)
        try:
            await asyncio.wait({stream})
        finally:
            self._streams.discard(stream)
            stream.cancel()
        return response

    async def _send(self, response: web.StreamResponse, after: int, every: float) -> None:
        try:
            async with aclosing(follow(self._log, after, every)) as chunks:
                async for chunk in chunks:
                    await response.write(chunk)
        except ConnectionError:  # the host has hung up
            return

    async def _end_streams(self, _: web.Application) -> None:
        for stream in self._streams:
            stream.cancel()


def _number(http: web.Request, name: str) -> float:
    try:
        if (value := float(http.query[name])) >= 0 and math.isfinite(value):
            return value
    except (KeyError, ValueError):
        pass
    raise web.HTTPBadRequest(text=f"{name}: must be a number that is not below zero, like ?{name}=0")


async def follow(log: EventWriter, offset: int, every: float) -> AsyncGenerator[bytes, None]:
    """The content of the file behind its first ``offset`` bytes, and all that is added; never ends.

    What is added arrives at most about ``every`` seconds later, together with whatever else came in that time: an event
    costs a node less than a wake-up of its event loop does.
    """
    loop, grown, told = asyncio.get_running_loop(), asyncio.Event(), False

    def hear() -> None:
        nonlocal told
        if not told:
            told = True
            loop.call_soon_threadsafe(grown.set)

    with log.heard_by(hear), log.path.open("rb", buffering=0) as file:
        file.seek(offset)
        while True:
            grown.clear()
            told = False  # an event that comes from here on is in what is read now, or sets `grown` again
            while chunk := file.read(_CHUNK):
                yield chunk
            await grown.wait()
            await asyncio.sleep(every)
