"""Everything that a scenario can name, and where it comes from."""

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from testbed.core.registry import KindError, Registry
from testbed.patterns.base import PATTERNS
from testbed.schema.fault import FAULTS
from testbed.schema.metric import METRICS
from testbed.schema.network.model_source import MODEL_SOURCES
from testbed.schema.network.node import NODE_KINDS
from testbed.schema.network.sensor import SENSORS
from testbed.workload.arrivals.base import ARRIVALS
from testbed.workload.prompts.base import PROMPTS
from testbed.workload.scoring.base import SCORERS
from testbed.world.network.links.backend import LINK_BACKENDS

REGISTRIES: Final[tuple[Registry[Any], ...]] = (
    PATTERNS,
    FAULTS,
    PROMPTS,
    SCORERS,
    ARRIVALS,
    MODEL_SOURCES,
    NODE_KINDS,
    SENSORS,
    LINK_BACKENDS,
    METRICS,
)


@dataclass(frozen=True)
class KnownKind:
    """A kind of an installed package. ``problem`` says why it cannot be used; it is empty if it can."""

    group: str
    noun: str
    name: str
    origin: str
    summary: str
    problem: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``kinds --json``."""
        return asdict(self)


def known_kinds() -> list[KnownKind]:
    """Every kind of every registry, in the order of the registries and of the kinds' names; raises KindError."""
    return [kind for registry in REGISTRIES for kind in _kinds_of(registry)]


def _kinds_of(registry: Registry[Any]) -> Iterator[KnownKind]:
    for name in registry.names():
        try:
            origin, kind = str(registry.origin(name)), registry.get(name)
        except KindError as error:
            yield KnownKind(registry.group, registry.noun, name, "", "", str(error))
        else:
            yield KnownKind(registry.group, registry.noun, name, origin, _summary(kind))


def _summary(kind: Any) -> str:
    """Its own summary, or else the first sentence of its docstring."""
    said: str = getattr(kind, "summary", "") or inspect.getdoc(kind) or ""
    paragraph = " ".join(said.partition("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + stop.rstrip()
