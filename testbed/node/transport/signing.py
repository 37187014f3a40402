"""Signatures by HMAC-SHA-256 (RFC 2104) under a key for each pair of nodes, and a window against replays.

Each direction of a pair has a key of its own, derived from the pair's. So no third node can sign in another's name, and
nothing that a node has sent can be sent back to it. A tag has 128 bits, as IPsec's (RFC 4868).

A stamp is a sender's time in microseconds, and larger than every one before. A receiver takes each stamp once. It
refuses the stamps from before its own start, which it cannot remember, and those older than the window.
"""

import hmac
import time
from collections.abc import Mapping
from heapq import heappush, heappushpop
from typing import Final

from testbed.node.transport.refusals import UnauthenticatedError

TAG_BYTES: Final = 16
STAMP_BYTES: Final = 8

_WINDOW: Final = 512
"""Stamps of a sender that are remembered: more than its messages overtake one another by."""


def now() -> int:
    """Microseconds since the epoch. Not the run's clock: its zero may differ between hosts."""
    return time.time_ns() // 1000


class Window:
    """The stamps of one sender that have been taken. Those up to ``floor`` are refused, known or not."""

    def __init__(self, floor: int, size: int = _WINDOW) -> None:
        self._floor = floor
        self._size = size
        self._known: set[int] = set()
        self._order: list[int] = []  # a heap of the same

    def take(self, stamp: int) -> None:
        """Take a stamp; raises UnauthenticatedError if it has been taken or is too old."""
        if stamp in self._known:
            raise UnauthenticatedError("it was sent before")
        if stamp <= self._floor:
            raise UnauthenticatedError("it is too old")
        self._known.add(stamp)
        if len(self._order) < self._size:
            heappush(self._order, stamp)
        else:
            self._floor = heappushpop(self._order, stamp)
            self._known.discard(self._floor)


class Signer:
    """Signs what the node ``name`` sends, and checks what it receives. ``keys`` are those of its pairs, by peer."""

    def __init__(self, name: str, keys: Mapping[str, bytes]) -> None:
        self.name = name
        self._sending = {peer: _directed(key, name, peer) for peer, key in keys.items()}
        self._receiving = {peer: _directed(key, peer, name) for peer, key in keys.items()}
        self._last = now()
        self._windows = {peer: Window(self._last) for peer in keys}

    def stamp(self) -> bytes:
        """A new stamp, in STAMP_BYTES bytes."""
        self._last = max(self._last + 1, now())
        return self._last.to_bytes(STAMP_BYTES, "big")

    def sign(self, peer: str, *parts: bytes) -> bytes:
        """The tag of ``parts``, as they are sent to ``peer``."""
        return tag(self._sending[peer], *parts)

    def check(self, peer: str, signature: bytes, *parts: bytes) -> None:
        """Raise UnauthenticatedError unless ``peer`` has signed ``parts`` for this node."""
        if peer not in self._receiving:
            raise UnauthenticatedError("it names no node of this run")
        check(self._receiving[peer], signature, *parts)

    def admit(self, peer: str, stamp: bytes) -> None:
        """Take the stamp of something that :meth:`check` has found genuine; raises UnauthenticatedError."""
        self._windows[peer].take(int.from_bytes(stamp, "big"))

    def sending_key(self, peer: str, *about: bytes) -> bytes:
        """A key for what follows ``about`` to ``peer``."""
        return _digest(self._sending[peer], *about)

    def receiving_key(self, peer: str, *about: bytes) -> bytes:
        """The key that ``peer`` has by :meth:`sending_key`."""
        return _digest(self._receiving[peer], *about)


def tag(key: bytes, *parts: bytes) -> bytes:
    """The tag of ``parts``, which cannot be divided in another way."""
    return _digest(key, *parts)[:TAG_BYTES]


def check(key: bytes, signature: bytes, *parts: bytes) -> None:
    """Raise UnauthenticatedError if ``signature`` is not the tag of ``parts``."""
    if not hmac.compare_digest(tag(key, *parts), signature):
        raise UnauthenticatedError("its signature is wrong")


def _directed(key: bytes, sender: str, receiver: str) -> bytes:
    return _digest(key, b"direction", sender.encode(), receiver.encode())


def _digest(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(len(part).to_bytes(4, "big") + part for part in parts), "sha256")
