"""How a node joins a ring: the files that it loads, and its role."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from testbed.node.config import FRONT, WITHOUT, NodeConfig
from testbed.node.engine.front import Front
from testbed.node.engine.inference import Inference
from testbed.node.engine.slowness import Slowness
from testbed.node.engine.stage import InnerStage, LastStage, Limits, Rows
from testbed.node.event_log import EventWriter
from testbed.node.ring.follower import Follower
from testbed.node.ring.head import Head
from testbed.node.ring.hop import Seat
from testbed.node.ring.station import InnerStation, LastStation, Station
from testbed.node.transport.door import Door
from testbed.patterns.pipeline import Pipeline

_WARM = Rows([0], [0])


def join(
    config: NodeConfig, pattern: Pipeline, stage: Path, slowness: Slowness, log: EventWriter, door: Door
) -> Inference:
    """The node's inference, with the file ``stage`` loaded, and at the head the front beside it; raises StageError."""
    seat = Seat(config, pattern, StageFiles(config, pattern, stage), slowness, log, door)
    if seat.stage == 0:
        return Head(seat, Front(stage.with_name(FRONT.name), config.chat))
    return Follower(seat)


class StageFiles:
    """The stations that a node can be, from the files that it has."""

    def __init__(self, config: NodeConfig, pattern: Pipeline, stage: Path) -> None:
        self._config = config
        self._pattern = pattern
        self._stage = stage

    def __contains__(self, missing: object) -> bool:
        """Whether there is a file for a ring without the nodes ``missing``."""
        return isinstance(missing, tuple) and self._path(missing).exists()

    def load(self, missing: Sequence[str]) -> Station:
        """The station, after one row: the first prompt meets no cold start. Raises StageError."""
        groups, batch = self._pattern.places
        places, context = groups * batch, self._config.context
        limits = Limits(context, places, max(batch, self._pattern.chunk), self._config.threads)
        path = self._path(missing)
        if self._config.name == [name for name in self._pattern.ring if name not in missing][-1]:
            last = LastStage(path, limits)
            last.logits(_WARM, np.zeros((1, last.width), np.float32), [0])
            last.free(0)
            return LastStation(last, places, context)
        inner = InnerStage(path, limits)
        inner.forward(_WARM, np.zeros((1, inner.width), np.float32))
        inner.free(0)
        return InnerStation(inner, places, context)

    def _path(self, missing: Sequence[str]) -> Path:
        if not missing:
            return self._stage
        return self._stage.parent / WITHOUT.name / f"{'+'.join(missing)}.gguf"
