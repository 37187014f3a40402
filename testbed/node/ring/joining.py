"""How a node takes its seat in a ring: what it loads, and what it is there."""

from pathlib import Path

import numpy as np

from testbed.node.config import FRONT, NodeConfig
from testbed.node.front import Front
from testbed.node.inference import Inference
from testbed.node.ring.follower import Follower
from testbed.node.ring.head import Head
from testbed.node.ring.hop import Seat
from testbed.node.ring.station import InnerStation, LastStation, Station
from testbed.node.slowness import Slowness
from testbed.node.stage import LastStage, Limits, Rows, Stage
from testbed.node.trace import Trace
from testbed.patterns.pipeline import Pipeline

_WARM = Rows([0], [0])


def join(config: NodeConfig, pattern: Pipeline, stage: Path, slowness: Slowness, trace: Trace) -> Inference:
    """Load the stage of a node, whose file is ``stage``; at the head the front lies beside it. Raises StageError."""
    station, width = _load(config, pattern, stage)
    seat = Seat(config, pattern, station, width, slowness, trace)
    if seat.stage == 0:
        return Head(seat, Front(stage.with_name(FRONT.name)))
    return Follower(seat)


def _load(config: NodeConfig, pattern: Pipeline, path: Path) -> tuple[Station, int]:
    """The station with one row behind it, so that the first prompt meets no cold start, and the model's width."""
    groups, batch = pattern.places
    places = groups * batch
    limits = Limits(config.context, places, max(batch, pattern.chunk), config.threads)
    if config.name == pattern.ring[-1]:
        last = LastStage(path, limits)
        last.logits(_WARM, np.zeros((1, last.width), np.float32), [0])
        last.free(0)
        return LastStation(last, places, config.context), last.width
    inner = Stage(path, limits)
    inner.forward(_WARM, np.zeros((1, inner.width), np.float32))
    inner.free(0)
    return InnerStation(inner, places, config.context), inner.width
