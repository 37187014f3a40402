"""The events of one node, one JSON object a line.

Every event has ``t``, the seconds of CLOCK_MONOTONIC, which all containers of a host share with it, so that the events
of a run lie on one clock without any being corrected. An event is on disk when :meth:`Trace.emit` returns; a node that
is killed loses none. docs/results.md
lists the events and what they carry.

A job is called ``PROMPT.LAYER@NODE`` after the node whose model does it; a message ``JOB/request`` or
``JOB/response``. So a prompt's events join by ``prompt``, a job's by ``job``, a message's two ends by ``message``.
"""

import json
import os
import time
from pathlib import Path


class Trace:
    """The event file of the node called ``name``."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        # A single write to a descriptor opened for appending is atomic, from any thread.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def emit(self, event: str, **fields: object) -> None:
        """Record ``event`` as happening now."""
        record = {"t": time.monotonic(), "node": self._name, "event": event, **fields}
        os.write(self._descriptor, json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")
