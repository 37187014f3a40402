"""Drafts of topologies: names and links, which become a topology file when nodes get devices."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from itertools import cycle
from textwrap import wrap
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from testbed.core.errors import SpecError
from testbed.core.units import BANDWIDTH, SHARE
from testbed.models import zoo
from testbed.schema.reading.document import read_value

_DEVICE: Final = {"cpus": 0.1, "memory": "160MiB"}
_DEVICE_KEYS: Final = ("model", "device", "cpus", "memory", "context")


@dataclass(frozen=True)
class DraftDirection:
    """One direction of a link: bandwidth in bit/s (None is unlimited), delay and jitter in seconds, and a share."""

    bandwidth: float | None
    delay: float
    jitter: float = 0.0
    loss: float = 0.0

    def written(self) -> dict[str, str]:
        """Its keys in a topology file."""
        written = {} if self.bandwidth is None else {"bandwidth": BANDWIDTH.format(self.bandwidth)}
        written["delay"] = _milliseconds(self.delay)
        written |= {"jitter": _milliseconds(self.jitter)} if self.jitter else {}
        return written | ({"loss": SHARE.format(self.loss)} if self.loss else {})


@dataclass(frozen=True)
class DraftLink:
    """A link between two nodes: ``up`` from ``a`` to ``b``, and ``down`` back."""

    a: str
    b: str
    up: DraftDirection
    down: DraftDirection

    @classmethod
    def even(cls, a: str, b: str, bandwidth: float | None, delay: float) -> "DraftLink":
        """A link whose directions are alike."""
        direction = DraftDirection(bandwidth, delay)
        return cls(a, b, direction, direction)

    @property
    def entry(self) -> dict[str, Any]:
        """The link as a topology file says it."""
        up, down = self.up.written(), self.down.written()
        return {"endpoints": [self.a, self.b], **(up if up == down else {"up": up, "down": down})}


@dataclass(frozen=True)
class Draft:
    """A topology without devices. ``comment`` says how it was made."""

    name: str
    comment: str
    nodes: list[str]
    links: list[DraftLink]

    def yaml(self, device: Mapping[str, Any]) -> str:
        """The text of the topology file. Every node gets the keys in ``device``; without a model, the zoo's in turn."""
        models = cycle([device["model"]] if "model" in device else [f"zoo/{name}" for name in zoo.SPECIALISTS])
        usual = {} if "device" in device else _DEVICE
        nodes = {name: _in_a_line({"model": next(models), **usual, **device}) for name in self.nodes}
        links = [_in_a_line(link.entry) for link in self.links]
        written = {"name": self.name, "nodes": nodes, "links": links}
        file = StringIO()
        file.writelines(f"# {line}\n" for line in wrap(self.comment, 116))
        yaml = YAML()
        yaml.width = 200
        yaml.indent(mapping=2, sequence=4, offset=2)
        yaml.dump({key: value for key, value in written.items() if value}, file)
        return file.getvalue()


def read_device(written: str) -> dict[str, Any]:
    """The keys of a node from a text like ``model=zoo/alpha,cpus=0.2``; raises SpecError."""
    said = {}
    for part in written.split(",") if written else []:
        key, _, value = (text.strip() for text in part.partition("="))
        if key not in _DEVICE_KEYS or not value:
            known = ", ".join(_DEVICE_KEYS)
            raise SpecError.of("--node", f"{part!r} must read KEY=VALUE, like cpus=0.2; the keys are {known}")
        said[key] = value if key in ("model", "device") else read_value("--node", value)
    return said


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1e3, 3):g}ms"


def _in_a_line(values: Mapping[str, Any]) -> CommentedMap:
    line = CommentedMap(values)
    line.fa.set_flow_style()
    return line
