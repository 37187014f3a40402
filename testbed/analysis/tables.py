"""The events of a run as an Arrow table."""

import json
from collections.abc import Iterable
from typing import Any, Final

import pyarrow as pa

from testbed.analysis.events import Event

_FIXED: Final = {"t": pa.float64(), "node": pa.string(), "event": pa.string()}
"""Columns that every event has, with their types."""


def events_table(events: Iterable[Event]) -> Any:
    """A ``pyarrow.Table``: a row for each event, a column for each field; null where an event lacks the field.

    The first columns are ``t`` (seconds from the beginning of play), ``node`` and ``event``; the others follow in the
    order in which the run has them. A field whose values are of several types is text, in JSON.
    """
    rows = list(events)
    names = dict.fromkeys([*_FIXED, *(name for row in rows for name in row)])
    return pa.table({name: _column([row.get(name) for row in rows], _FIXED.get(name)) for name in names})


def _column(values: list[Any], kind: Any = None) -> Any:
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else json.dumps(value, ensure_ascii=False) for value in values])
