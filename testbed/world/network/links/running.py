"""The links of a run, which any process may change while they carry frames.

What they are at the moment stands in a file that the processes share. Whoever changes a link holds a lock, tells the
backend, writes the file anew and notes the change as an event of the run.

All of this is by the run's clock. In a dilated run backends are told of links that are that much slower.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from testbed.core.clock import REAL_TIME, Clock
from testbed.core.errors import SpecError
from testbed.host.namespace import Namespace
from testbed.schema.network.link import DIRECTIONS, DirectionName, Link
from testbed.world.journal import Journal
from testbed.world.network.links.backend import LINK_BACKENDS, End, Health, LinkBackend, Links, Wiring

EVENTS: Final = "events.jsonl"
"""The file of the run's events that are changes of links, in the links' directory."""

_STATE: Final = "links.json"
_LOCK: Final = "lock"


@dataclass(frozen=True)
class _State:
    """What stands in the file: which backend made the links, the run's clock, and every link by its name."""

    backend: str
    seed: int
    clock: Clock
    wirings: dict[str, Wiring]


_STATES: Final = TypeAdapter(_State)


class RunningLinks:
    """The links of one run. ``directory`` is what its processes share of them."""

    def __init__(self, directory: Path, backend: LinkBackend, links: Links, state: _State) -> None:
        """For :meth:`begin` and :meth:`attach`."""
        self._directory = directory
        self._backend = backend
        self._links = links
        self._state = state
        self._known: BinaryIO | None = None  # the file of which this is the state
        self._dropped: Counter[str] = Counter()  # by each link's interfaces, when health was asked for

    @classmethod
    def begin(
        cls, backend: LinkBackend, journal: Journal, directory: Path, seed: int, clock: Clock = REAL_TIME
    ) -> "RunningLinks":
        """Begin the links of a run, whose ``directory`` is there, with the run's ``seed`` and clock."""
        return cls(directory, backend, backend.begin(journal, directory), _State(backend.name, seed, clock, {}))

    @classmethod
    def attach(cls, directory: Path) -> "RunningLinks":
        """Take links in hand that another process has begun and published."""
        state = _STATES.validate_json((directory / _STATE).read_bytes())
        backend = LINK_BACKENDS.get(state.backend)
        return cls(directory, backend, backend.attach(directory), state)

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create a link between two ends."""
        wiring = Wiring(len(self._state.wirings), link, a, b, self._state.seed)
        self._links.connect(self._real(wiring))
        self._state.wirings[link.name] = wiring

    def publish(self) -> None:
        """Let other processes see the links, once all are connected."""
        with self._locked():
            self._write()

    def current(self) -> list[Wiring]:
        """Every link as it is now."""
        with self._locked():
            return list(self._state.wirings.values())

    def find(self, name: str) -> Wiring:
        """One link as it is now; raises SpecError if there is no such link."""
        with self._locked():
            return self._find(name)

    def change(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Link:
        """Change the properties that are ``said`` of one direction or both, in the terms of Direction.

        Frames that wait or are on their way stay there. Raises SpecError if there is no such link, if the properties
        do not fit each other or those that stay, or if the backend cannot have them.
        """
        with self._locked():
            before = self._find(name)
            after = replace(before, link=self._changed(before.link, said), changes=before.changes + 1)
            old, new = before.link, after.link
            directions = [name for name in DIRECTIONS if old.direction(name) != new.direction(name)]
            try:
                self._links.shape(self._real(after), directions)
            except Exception:  # half of it may have been done
                self._links.shape(self._real(before), directions)
                raise
            self._state.wirings[name] = after
            self._write()
            self._note(name, said)
        return after.link

    def moved(self, namespace: Namespace) -> None:
        """All interfaces of a namespace have come into another one, for which its path now stands."""
        with self._locked():
            for wiring in self._state.wirings.values():
                for end in (wiring.a, wiring.b):
                    if end.namespace == namespace:
                        self._links.moved(self._real(wiring), end)

    def health(self) -> Health:
        """How well they have worked since this was asked last.

        To what the backend knows come the frames that the interfaces dropped instead of sending them.
        """
        wirings = self.current()
        health, before = self._links.health(wirings), self._dropped
        self._dropped = _dropped(wirings)
        lateness = None if health.lateness is None else self._state.clock.virtual(health.lateness)
        return replace(health, lateness=lateness, lost=dict(Counter(health.lost) + (self._dropped - before)))

    def _real(self, wiring: Wiring) -> Wiring:
        """What a backend is to make of a link."""
        return wiring.dilated(self._state.clock.dilation)

    def _find(self, name: str) -> Wiring:
        if name not in self._state.wirings:
            raise SpecError.of(name, f"there is no such link; known are {', '.join(self._state.wirings)}")
        return self._state.wirings[name]

    def _changed(self, link: Link, said: Mapping[DirectionName, Mapping[str, Any]]) -> Link:
        try:
            changed = link.changed(said)
        except ValueError as error:
            raise SpecError.of(link.name, str(error)) from None
        for direction, reason in self._backend.refusals(link, changed):
            raise SpecError.of(f"{link.name} {direction}", f"links of the {self._backend.name} backend {reason}")
        return changed

    def _note(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> None:
        event: dict[str, Any] = {"t": self._state.clock.now(), "node": "", "event": "link", "link": name}
        for direction, properties in said.items():
            event[direction] = dict(properties)
            if trace := properties.get("trace"):
                event[direction]["trace"] = trace.path  # without all that is in it
        with (self._directory / EVENTS).open("a") as file:
            file.write(json.dumps(to_jsonable_python(event)) + "\n")

    def _write(self) -> None:
        new = self._directory / f"{_STATE}.new"
        new.write_bytes(_STATES.dump_json(self._state))
        new.rename(self._directory / _STATE)  # so that whoever attaches meanwhile reads one whole state or the other
        self._know()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes out, and know what they have done."""
        with (self._directory / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._read()
            yield

    def _read(self) -> None:
        """Take in the file if another process has written it. The one that we know is open, so its inode is its own."""
        path = self._directory / _STATE
        if path.exists() and not (self._known and os.path.samestat(path.stat(), os.fstat(self._known.fileno()))):
            self._know()
            self._state = _STATES.validate_json(path.read_bytes())

    def _know(self) -> None:
        if self._known:
            self._known.close()
        self._known = (self._directory / _STATE).open("rb")


def _dropped(wirings: Sequence[Wiring]) -> Counter[str]:
    """Frames that the interfaces of each link have dropped so far; none where the link is gone."""
    ends = [(wiring.link.name, end) for wiring in wirings for end in (wiring.a, wiring.b)]
    counters = {namespace: namespace.counters() for namespace in {end.namespace for _, end in ends}}
    dropped: Counter[str] = Counter()
    for name, end in ends:
        if end.interface in counters[end.namespace]:
            dropped[name] += counters[end.namespace][end.interface].dropped
    return dropped
