"""The links of a run, which any process may change while they carry frames.

The processes share a file with the current properties of every link. A process that changes a link takes a lock, calls
the backend, rewrites the file and appends an event to the run's.

Times here are in virtual time. In a dilated run the backend is given links that are slower by the dilation.
"""

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
from testbed.world.network.links.lock import held

EVENTS: Final = "events.jsonl"
"""The file in the links' directory that holds the run's events of kind ``link``."""

_STATE: Final = "links.json"
_LOCK: Final = "lock"


@dataclass(frozen=True)
class _State:
    """The content of the shared file: the backend's name, the run's seed and clock, and every link by its name."""

    backend: str
    seed: int
    clock: Clock
    wirings: dict[str, Wiring]


_STATES: Final = TypeAdapter(_State)


class RunningLinks:
    """The links of one run. The processes that use them share a directory."""

    def __init__(self, directory: Path, backend: LinkBackend, links: Links, state: _State) -> None:
        """For :meth:`begin` and :meth:`attach`."""
        self._directory = directory
        self._backend = backend
        self._links = links
        self._state = state
        self._known: BinaryIO | None = None  # the file that _state was read from or written to
        self._dropped: Counter[str] = Counter()  # frames dropped by each link's interfaces until the last health()

    @classmethod
    def begin(
        cls, backend: LinkBackend, journal: Journal, directory: Path, seed: int, clock: Clock = REAL_TIME
    ) -> "RunningLinks":
        """Begin the links of a run in ``directory``, which exists."""
        return cls(directory, backend, backend.begin(journal, directory), _State(backend.name, seed, clock, {}))

    @classmethod
    def attach(cls, directory: Path) -> "RunningLinks":
        """Take over links that another process has begun and published."""
        state = _STATES.validate_json((directory / _STATE).read_bytes())
        backend = LINK_BACKENDS.get(state.backend)
        return cls(directory, backend, backend.attach(directory), state)

    def connect(self, link: Link, a: End, b: End) -> None:
        """Create a link between two ends."""
        wiring = Wiring(len(self._state.wirings), link, a, b, self._state.seed)
        self._links.connect(self._real(wiring))
        self._state.wirings[link.name] = wiring

    def publish(self) -> None:
        """Write the shared file, once all links are connected."""
        with self._locked():
            self._write()

    def current(self) -> list[Wiring]:
        """The current wiring of every link."""
        with self._locked():
            return list(self._state.wirings.values())

    def find(self, name: str) -> Wiring:
        """The current wiring of one link. Raises SpecError if there is no such link."""
        with self._locked():
            return self._find(name)

    def change(self, name: str, said: Mapping[DirectionName, Mapping[str, Any]]) -> Link:
        """Change properties of one direction or both. ``said`` maps names of Direction's fields to new values.

        Frames that wait or are in transit are kept. Raises SpecError if there is no such link, if the new properties
        contradict each other or those that stay, or if the backend cannot make them.
        """
        with self._locked():
            before = self._find(name)
            after = replace(before, link=self._changed(before.link, said), changes=before.changes + 1)
            old, new = before.link, after.link
            directions = [name for name in DIRECTIONS if old.direction(name) != new.direction(name)]
            try:
                self._links.shape(self._real(after), directions)
            except Exception:  # one direction may have been changed already
                self._links.shape(self._real(before), directions)
                raise
            self._state.wirings[name] = after
            self._write()
            self._note(name, said)
        return after.link

    def moved(self, namespace: Namespace) -> None:
        """Restore the links of a namespace whose interfaces were moved into another one of the same path."""
        with self._locked():
            for wiring in self._state.wirings.values():
                for end in (wiring.a, wiring.b):
                    if end.namespace == namespace:
                        self._links.moved(self._real(wiring), end)

    def health(self) -> Health:
        """The condition of the links since the last call. ``lost`` includes the frames that the interfaces dropped."""
        wirings = self.current()
        health, before = self._links.health(wirings), self._dropped
        self._dropped = _dropped(wirings)
        lateness = None if health.lateness is None else self._state.clock.virtual(health.lateness)
        return replace(health, lateness=lateness, lost=dict(Counter(health.lost) + (self._dropped - before)))

    def _real(self, wiring: Wiring) -> Wiring:
        """The link in real time, as the backend makes it."""
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
                event[direction]["trace"] = trace.path  # its path, without its opportunities
        with (self._directory / EVENTS).open("a") as file:
            file.write(json.dumps(to_jsonable_python(event)) + "\n")

    def _write(self) -> None:
        new = self._directory / f"{_STATE}.new"
        new.write_bytes(_STATES.dump_json(self._state))
        new.rename(self._directory / _STATE)  # atomic, for a process that attaches meanwhile
        self._know()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, with the state that other processes have written. Raises LinkError if one keeps the lock."""
        with held(self._directory / _LOCK):
            self._read()
            yield

    def _read(self) -> None:
        """Read the file if another process has replaced it. The known file is open, so its inode is not reused."""
        path = self._directory / _STATE
        if path.exists() and not (self._known and os.path.samestat(path.stat(), os.fstat(self._known.fileno()))):
            self._know()
            self._state = _STATES.validate_json(path.read_bytes())

    def _know(self) -> None:
        if self._known:
            self._known.close()
        self._known = (self._directory / _STATE).open("rb")


def _dropped(wirings: Sequence[Wiring]) -> Counter[str]:
    """By link, the frames that its interfaces have dropped so far. An interface that is gone counts none."""
    ends = [(wiring.link.name, end) for wiring in wirings for end in (wiring.a, wiring.b)]
    counters = {namespace: namespace.counters() for namespace in {end.namespace for _, end in ends}}
    dropped: Counter[str] = Counter()
    for name, end in ends:
        if end.interface in counters[end.namespace]:
            dropped[name] += counters[end.namespace][end.interface].dropped
    return dropped
