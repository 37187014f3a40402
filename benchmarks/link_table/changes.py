"""Ten thousand random changes of a link that carries numbered datagrams, none of which may be lost or reordered."""

import random
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from statistics import quantiles
from threading import Event
from typing import Any, Final

from link_table.pairs import ADDRESSES, BackendBench
from link_table.tools import meet
from testbed.host.namespace import Namespace
from testbed.schema.network.direction import Direction, Jitter, Queue

CHANGES: Final = 10_000

_SEED = 7
_CHANGE_INTERVAL, _DATAGRAM_INTERVAL = 1e-3, 0.5e-3  # seconds
_PAYLOAD = 200  # bytes; with the headers 3.9 Mbit/s
_SLOWEST, _FASTEST = 10e6, 1e9  # bit/s: always more than the load
_LONGEST_DELAY = 0.050
_SHORTEST_QUEUE, _LONGEST_QUEUE = 1_000, 10_000  # packets: more than the load sends in the longest delay
_SILENCE = 2.0  # seconds without a datagram after which none is in flight
_PORT = 5001
_BUFFER = 64 * 2**20
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h: without the limit of net.core.rmem_max


@dataclass(frozen=True)
class Outcome:
    """Datagrams that were sent, lost, and overtaken; and the 99th percentile of the seconds of a change."""

    sent: int
    lost: int
    overtaken: int
    change: float


def change_under_load(bench: BackendBench) -> Outcome:
    """Change bandwidth, delay, jitter and queue of both directions :data:`CHANGES` times, one a millisecond."""
    draw = random.Random(_SEED)
    pair = bench.join(Direction(), Direction())
    meet(pair)
    done = Event()
    took: list[float] = []
    with closing(_socket(pair.b)) as receiver, closing(_socket(pair.a)) as sender, ThreadPoolExecutor(2) as pool:
        receiver.bind((ADDRESSES[4][1], _PORT))
        arriving = pool.submit(lambda: list(_receive(receiver)))
        sending = pool.submit(_send, sender, done)
        try:
            for _ in _paced(CHANGES, _CHANGE_INTERVAL):
                begin = time.monotonic()
                bench.change(pair, _any_properties(draw))
                took.append(time.monotonic() - begin)
        finally:
            done.set()
        sent, arrived = sending.result(), arriving.result()
    latest = accumulate(arrived, max)
    overtaken = sum(number < before for number, before in zip(arrived, latest, strict=True))
    return Outcome(sent, sent - len(set(arrived)), overtaken, quantiles(took, n=100)[-1])


def _any_properties(draw: random.Random) -> dict[str, Any]:
    delay = draw.uniform(0, _LONGEST_DELAY)
    return {
        "bandwidth": draw.choice([None, draw.uniform(_SLOWEST, _FASTEST)]),
        "delay": delay,
        "jitter": Jitter(draw.uniform(0, delay / 4)),
        "queue": Queue(packets=draw.randint(_SHORTEST_QUEUE, _LONGEST_QUEUE)),
    }


def _socket(host: Namespace) -> socket.socket:
    with host.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    return made


def _send(sender: socket.socket, done: Event) -> int:
    """Send numbered datagrams until told to stop, and return their number."""
    number = 0
    for number in _paced(None, _DATAGRAM_INTERVAL):
        sender.sendto(number.to_bytes(_PAYLOAD, "big"), (ADDRESSES[4][1], _PORT))
        if done.is_set():
            break
    return number + 1


def _receive(receiver: socket.socket) -> Iterator[int]:
    receiver.settimeout(_SILENCE)
    try:
        while True:
            yield int.from_bytes(receiver.recv(_PAYLOAD), "big")
    except TimeoutError:
        return


def _paced(times: int | None, interval: float) -> Iterator[int]:
    """The numbers from 0, one every ``interval`` seconds; late ones follow at once."""
    begin, number = time.monotonic(), 0
    while times is None or number < times:
        time.sleep(max(0.0, begin + number * interval - time.monotonic()))
        yield number
        number += 1
