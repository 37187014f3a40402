"""What the nodes of a topology file say. A node kind puts these parts together, and adds options of its own.

Node ─┬─ Emulated      a share of this host's CPU and memory
      └─ AgentNode     an agent: prompts arrive at it, and patterns run in it
           └─ ModelNode    with a model whose files the testbed provides
"""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from testbed.core.errors import TestbedError
from testbed.core.input_files import anchored
from testbed.core.registry import Registry
from testbed.core.spec import Spec
from testbed.core.units import Power, Size
from testbed.patterns.participant import Price, Tier
from testbed.schema.kind_fields import OfKind
from testbed.schema.network.model_source import REFERENCE_PATTERN, source_of
from testbed.schema.network.sensor import SENSORS, PowerSensor
from testbed.schema.reading.explain import Mistake

_MODELS = "a name of `testbed models`, path:FILE.gguf, or a reference to another model source of `testbed kinds`"
ModelName = Annotated[str, WithJsonSchema({"type": "string", "pattern": REFERENCE_PATTERN})]


class Node(Spec):
    """What every node has, whatever its kind."""

    forwards: ClassVar[bool] = True
    """Whether it passes on packets for others. A node that does not has one link, to a switch."""

    dilates: ClassVar[bool] = True
    """Whether its time can run slower than the host's."""

    constrains: ClassVar[bool] = False
    """Whether the answers of its model can be held to choices, or to a length."""

    kind: str = Field(description="kind of node; `testbed kinds` lists them")
    tier: Tier | None = Field(None, description="where it stands, from the nearest to the user to the farthest")
    price: Price | None = Field(None, description="what it asks for a million tokens, like {input: 0.15, output: 0.6}")
    power: Power | None = Field(None, description="what it draws at full load, like 8W")
    power_sensor: Annotated[PowerSensor, OfKind(SENSORS, "kind")] | None = Field(
        None, description="what measures its energy, like {kind: hwmon, chip: ina226}"
    )

    @property
    def takes_prompts(self) -> bool:
        """Whether prompts can be handed over to it, besides those that a pattern gives to nodes with an agent."""
        return False

    @property
    def given_models(self) -> Mapping[str, str]:
        """References to models whose files it can read, by where they lie inside it."""
        return {}


class Emulated(Node):
    """A node on this host. A device profile sets its speed and memory, unless ``cpus`` and ``memory`` do."""

    device: str | None = Field(
        None, description="a device profile, which sets speed and memory unless `cpus` and `memory` do"
    )
    cpus: float | None = Field(None, ge=0.01, allow_inf_nan=False, description="cores of the host, like 0.5")
    memory: Size = Field(description="cap on the memory of all the node's processes; there is no swap")

    @field_validator("cpus", mode="before")
    @classmethod
    def _refuse_thousandths(cls, written: object) -> object:
        """Kubernetes writes a fifth of a core as ``200m``."""
        if isinstance(written, str) and (thousandths := re.fullmatch(r"(\d+)m", written)):
            raise ValueError(f"{written!r} is not a number of cores; write {int(thousandths[1]) / 1000:g}")
        return written

    @model_validator(mode="after")
    def _check_cpus(self) -> "Emulated":
        if self.cpus is None and self.device is None:
            raise ValueError("`cpus` is missing; say how much CPU it has, or name a `device`")
        return self


class AgentNode(Node):
    """A node that runs the testbed's agent. Prompts arrive at it, and patterns run in it."""

    model: str = Field(description="the model that answers its calls")
    context: int = Field(512, ge=64, description="tokens that the model can attend to, in each slot")
    slots: int = Field(1, ge=1, le=64, description="jobs that the model does at once; with 1 the queue has one server")


def anchored_model(model: str, info: ValidationInfo) -> str:
    """A reference whose path counts from the topology file's directory, made absolute; raises ValueError."""
    try:
        source, name = source_of(model)
        source.check(name)
    except TestbedError as error:
        raise ValueError(str(error)) from error
    return model.removesuffix(name) + source.anchored(name, anchored(".", info.context, "topology"))


class ModelNode(AgentNode):
    """A node whose agent runs a model from files that the testbed provides."""

    constrains: ClassVar[bool] = True

    model: Annotated[ModelName, AfterValidator(anchored_model)] = Field(description=_MODELS)
    prefix_cache: bool = Field(
        False, description="whether a slot keeps the beginning of its last chat for the next that shares it"
    )


class NodeKind(Node):
    """The base of node kinds. A node that has an option named after a kind is of that kind; else ``kind`` names it."""

    suffers: ClassVar[frozenset[str]]
    """The fields of :class:`~testbed.faults.api.Condition` that faults can change in its nodes."""

    dilates: ClassVar[bool] = True
    """Whether its nodes can go by a clock that is slower than the host's."""

    @classmethod
    def mistakes(cls, nodes: Mapping[str, Node]) -> Iterator[Mistake]:
        """What does not fit between its nodes and the others, with places from ``nodes`` on."""
        del nodes
        yield from ()

    def check_host(self, name: str, engine: Any) -> None:
        """Raise a TestbedError if this host lacks what the node ``name`` needs. ``engine`` is the Docker client."""
        del name, engine

    def facts(self, engine: Any) -> Mapping[str, Any]:
        """What the manifest says of the program that the node runs, if it is not the testbed's own."""
        del engine
        return {}

    @classmethod
    @abstractmethod
    def start(cls, site: Any, nodes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start nodes, and return a handle for each name; raises WorldError.

        ``site`` is a :class:`~testbed.world.nodes.handle.Site`, each of ``nodes`` a
        :class:`~testbed.world.nodes.handle.PlannedNode`, and each handle a
        :class:`~testbed.world.nodes.handle.NodeHandle`. The site's journal records everything before it is made.
        """


DEFAULT_KIND: Final = "container"
"""The kind of a node that names none."""

NODE_KINDS: Final[Registry[type[NodeKind]]] = Registry("testbed.nodes", "node kind", NodeKind)
