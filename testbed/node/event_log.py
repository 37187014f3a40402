"""The events of one node, one JSON object a line.

Every event has ``t``, in seconds of the run's clock (:mod:`testbed.core.clock`). All nodes and the host share that
clock, so times of different nodes compare without correction. When :meth:`EventWriter.emit` returns, the kernel has the
event: it survives the death of the node, not of the host. docs/results.md lists the events and their fields.

A job is called ``PROMPT.LAYER@NODE`` after the node whose model does it; a message ``JOB/request`` or
``JOB/response``. So a prompt's events join by ``prompt``, a job's by ``job``, a message's two ends by ``message``.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic_core import PydanticSerializationError, to_json

from testbed.core.clock import Clock


class EventWriter:
    """Appends the events of the node called ``name`` to its event file."""

    def __init__(self, path: Path, name: str, clock: Clock) -> None:
        self.path = path
        self._name = name
        self._clock = clock
        self._listeners: tuple[Callable[[], None], ...] = ()
        _cut_torn_line(path)
        # A single write to a descriptor opened for appending is atomic, from any thread.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def emit(self, event: str, **fields: object) -> None:
        """Record ``event`` as happening now."""
        record = {"t": self._clock.now(), "node": self._name, "event": event, **fields}
        os.write(self._descriptor, _encoded(record) + b"\n")
        for hear in self._listeners:
            hear()

    @property
    def followed(self) -> bool:
        """Whether anybody hears of events."""
        return bool(self._listeners)

    @contextmanager
    def heard_by(self, hear: Callable[[], None]) -> Iterator[None]:
        """Call ``hear`` after every event for as long as the context lasts, in the thread that emits."""
        self._listeners += (hear,)
        try:
            yield
        finally:
            self._listeners = tuple(other for other in self._listeners if other is not hear)


def _cut_torn_line(path: Path) -> None:
    """Remove a last line that a kill cut off, so that the next event does not become part of it."""
    if not path.exists():
        return
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)


def _encoded(record: dict[str, object]) -> bytes:
    """As JSON. After an inference caches are cold, and pydantic's encoder takes half the time of Python's own."""
    try:
        return to_json(record, inf_nan_mode="null")  # JSON has no infinity
    except PydanticSerializationError:  # half a character, of a model that ended there
        return json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace")
