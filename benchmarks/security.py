"""Measures what security between nodes costs, beside no security:

    sudo .venv/bin/python benchmarks/security.py --out DIR

Messages and connections are measured between two ends in this process, at two loopback addresses, and tokens of a ring
between containers. The schemes take turns. Ring runs that are in DIR already are not played again.
docs/security.md has the table; it is also printed here, and kept in results/security.json.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from aiohttp import web
from command import commit, run
from rundirs import PROJECT, assigned, summary

from testbed.node.transport import streams
from testbed.node.transport.door import Door
from testbed.node.transport.http import HttpClient, body_of, serving
from testbed.schema.scenario import Security
from testbed.world.authority import issue

SCHEMES: Final[Sequence[Security]] = ("none", "signed", "mutual-tls")

_A, _B = "127.0.79.1", "127.0.79.2"
_PORT, _TAP = 47180, 47181
_REQUEST, _RESPONSE = b"x" * 400, b"y" * 500  # as long as a question with its chat, and an answer
_FRAME: Final = b"z" * 1100
_ROUNDS, _MESSAGES = 20, 200
_DELAY: Final = 0.05  # seconds, in each direction
_RING: Final = ("workload.arrivals.rate=50/s", "workload.count=48")  # all samples of the ring are in flight at once

_RESULTS: Final = Path(__file__).parent / "results" / "security.json"


@dataclass(frozen=True)
class Cost:
    """What a scheme adds to what it costs without security.

    Bytes of TCP's payload and microseconds of CPU time, of both ends together, are those of a message: half a request
    with its response, or a frame on a stream. ``round_trips`` are those that a new connection takes more. The ring's
    tokens/s are a ratio to those without security; a run's is that of its turn.
    """

    http_bytes: float
    http_microseconds: float
    frame_bytes: float
    frame_microseconds: float
    round_trips: float
    ring_tokens_per_second: list[float]
    ring_ratio: float
    ring_bytes_ratio: float


@dataclass(frozen=True)
class Carried:
    """Bytes and seconds of CPU time of one message."""

    bytes: float
    seconds: float


class Tap:
    """A relay to the server that counts bytes, and delays them by ``delay`` seconds."""

    def __init__(self, delay: float) -> None:
        self.bytes = 0
        self._delay = delay

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[None]:
        """Relay for as long as the context lasts."""
        async with await asyncio.start_server(self._relay, _B, _TAP):
            yield

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(_B, _PORT)
        await asyncio.gather(self._forward(reader, far_writer), self._forward(far_reader, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await reader.read(2**16):
                self.bytes += len(data)
                loop.call_later(self._delay, writer.write, data)  # later bytes do not wait for these
        loop.call_later(self._delay, writer.close)


def doors(scheme: Security) -> tuple[Door, Door]:
    """Those of the two ends."""
    made = issue(scheme, {"a": _A, "b": _B})
    return Door.of(made["a"], _complain), Door.of(made["b"], _complain)


def _complain(traffic: str, reason: str, count: int) -> None:
    raise RuntimeError(f"{count} {traffic} refused: {reason}")


@asynccontextmanager
async def answering(door: Door) -> AsyncIterator[None]:
    """A server that answers requests."""

    async def answer(request: web.Request) -> web.Response:
        assert await body_of(request) == _REQUEST
        return web.Response(body=_RESPONSE)

    application = web.Application()
    application.router.add_post("/", answer)
    async with serving(application, _B, _PORT, door, shutdown=0.1):
        yield


async def requests(scheme: Security, port: int, count: int, tap: Tap) -> Carried:
    """What one of two messages costs, in ``count`` requests over a connection that stands."""
    a, b = doors(scheme)
    async with answering(b), tap.relaying(), HttpClient(a) as client:
        await client.request("POST", _B, port, "/", _REQUEST)
        begin, before = time.process_time(), tap.bytes
        for _ in range(count):
            await client.request("POST", _B, port, "/", _REQUEST)
        return Carried((tap.bytes - before) / count / 2, (time.process_time() - begin) / count / 2)


async def frames(scheme: Security, port: int, count: int, tap: Tap) -> Carried:
    """What a frame costs, each of which waits until the one before has come."""
    a, b = doors(scheme)
    came = asyncio.Queue[int]()

    class Frames(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            came.put_nowait(len(data))

    async def send(outlet: streams.Outlet) -> None:
        outlet.write(_FRAME)
        missing = len(_FRAME)
        while missing:
            missing -= await came.get()

    async with streams.listening(lambda _: Frames(), _B, _PORT, b), tap.relaying():
        outlet = await streams.connect(_B, port, 10, a)
        await send(outlet)
        begin, before = time.process_time(), tap.bytes
        for _ in range(count):
            await send(outlet)
        found = Carried((tap.bytes - before) / count, (time.process_time() - begin) / count)
        outlet.abort()
        return found


async def round_trips(scheme: Security) -> float:
    """Round trips of a new connection's first request, besides the request's own. TCP's is not among them."""
    a, b = doors(scheme)
    async with answering(b), Tap(_DELAY).relaying(), HttpClient(a) as client:
        seconds = []
        for _ in range(2):
            begin = time.perf_counter()
            await client.request("POST", _B, _TAP, "/", _REQUEST)
            seconds.append(time.perf_counter() - begin)
        return (seconds[0] - seconds[1]) / (2 * _DELAY)


Exchange = Callable[[Security, int, int, Tap], Awaitable[Carried]]


def carried(exchange: Exchange) -> dict[Security, Carried]:
    """Bytes and CPU time of a message, by scheme: the medians over rounds in which all take their turn."""

    async def one(scheme: Security, port: int, count: int) -> Carried:
        return await exchange(scheme, port, count, Tap(0))

    size = {scheme: asyncio.run(one(scheme, _TAP, 20)).bytes for scheme in SCHEMES}
    rounds = [
        {scheme: asyncio.run(one(scheme, _PORT, _MESSAGES)).seconds for scheme in SCHEMES} for _ in range(_ROUNDS)
    ]
    return {scheme: Carried(size[scheme], median(each[scheme] for each in rounds)) for scheme in SCHEMES}


def ring(scheme: Security, number: int, out: Path) -> Path:
    """The directory of a run of the ring; raises CalledProcessError if it does not pass."""
    directory = out / f"ring-{scheme}-{number}"
    if not directory.exists():
        options = ["--fidelity", "off", "--out", str(directory), *assigned((f"security={scheme}", *_RING))]
        command = [sys.executable, "-m", "testbed", "run", "scenarios/pipeline.yaml", *options]
        subprocess.run(command, check=True, cwd=PROJECT, capture_output=True)
    return directory


def main() -> None:
    """Measure, print, and write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, required=True, help="the folder of the ring's runs")
    options.add_argument("--repeat", type=int, default=5, help="runs of the ring, for each scheme")
    asked = options.parse_args()
    out: Path = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    http, framed = carried(requests), carried(frames)
    trips = {scheme: median(asyncio.run(round_trips(scheme)) for _ in range(5)) for scheme in SCHEMES}
    played = [{scheme: summary(ring(scheme, n, out))["metrics"] for scheme in SCHEMES} for n in range(asked.repeat)]

    def ratio(metric: str, scheme: Security) -> float:
        return median([float(turn[scheme][metric]) / float(turn["none"][metric]) for turn in played])

    costs = {
        scheme: Cost(
            http_bytes=http[scheme].bytes - http["none"].bytes,
            http_microseconds=1e6 * (http[scheme].seconds - http["none"].seconds),
            frame_bytes=framed[scheme].bytes - framed["none"].bytes,
            frame_microseconds=1e6 * (framed[scheme].seconds - framed["none"].seconds),
            round_trips=trips[scheme] - trips["none"],
            ring_tokens_per_second=[turn[scheme]["tokens_per_second"] for turn in played],
            ring_ratio=ratio("tokens_per_second", scheme),
            ring_bytes_ratio=ratio("bytes_per_token", scheme),
        )
        for scheme in SCHEMES
    }
    result = {"commit": commit(), "repeat": asked.repeat, "costs": {name: asdict(cost) for name, cost in costs.items()}}
    _RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    run(main)
