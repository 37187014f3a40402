"""The events of one node, one JSON object a line.

Every event has ``t``, in seconds of the run's clock (:mod:`testbed.clock`), which tells all nodes and the host the same
time, so that no event has to be corrected. An event is on disk when :meth:`Trace.emit` returns; a node that is killed
loses none. docs/results.md lists the events and what they carry.

A job is called ``PROMPT.LAYER@NODE`` after the node whose model does it; a message ``JOB/request`` or
``JOB/response``. So a prompt's events join by ``prompt``, a job's by ``job``, a message's two ends by ``message``.
"""

import json
import os
from pathlib import Path
from typing import Final

from testbed.clock import Clock

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
"""Made once: to make one for each event takes as long as to write it."""


class Trace:
    """The event file of the node called ``name``."""

    def __init__(self, path: Path, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        # A single write to a descriptor opened for appending is atomic, from any thread.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def emit(self, event: str, **fields: object) -> None:
        """Record ``event`` as happening now."""
        record = {"t": self._clock.now(), "node": self._name, "event": event, **fields}
        os.write(self._descriptor, _ENCODER.encode(record).encode(errors="backslashreplace") + b"\n")
