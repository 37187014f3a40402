"""A topology in the making: names and links, which become a topology file once every node has a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from textwrap import wrap
from typing import Final

from ruamel.yaml import YAML

from testbed.errors import SpecError
from testbed.models import zoo
from testbed.units import BANDWIDTH

_DEVICE: Final = {"cpus": "0.1", "memory": "160MiB"}
_DEVICE_KEYS: Final = ("model", "cpus", "memory", "context")


@dataclass(frozen=True)
class DraftLink:
    """A link between two nodes: bit/s, or None for as fast as the host, and seconds one way."""

    a: str
    b: str
    bandwidth: float | None
    delay: float


@dataclass(frozen=True)
class Draft:
    """``comment`` says how it came to be."""

    name: str
    comment: str
    nodes: list[str]
    links: list[DraftLink]

    def yaml(self, device: Mapping[str, str]) -> str:
        """The topology file. ``device`` is said of every node; without a model they take those of the zoo in turn."""
        models = cycle([device["model"]] if "model" in device else [f"zoo/{name}" for name in zoo.NAMES])
        comment = [f"# {line}" for line in wrap(self.comment, 116)]
        nodes = [f"  {_scalar(name)}: {_mapping({'model': next(models), **_DEVICE, **device})}" for name in self.nodes]
        links = [f"  - {_mapping(_entry(link))}" for link in self.links]
        return "\n".join(
            [*comment, f"name: {_scalar(self.name)}", "nodes:", *nodes, *(["links:", *links] if links else []), ""]
        )


def read_device(written: str) -> dict[str, str]:
    """What ``model=zoo/alpha,cpus=0.2`` says of a device; raises SpecError."""
    said = {}
    for part in written.split(",") if written else []:
        key, _, value = (text.strip() for text in part.partition("="))
        if key not in _DEVICE_KEYS or not value:
            known = ", ".join(_DEVICE_KEYS)
            raise SpecError.of("--node", f"{part!r} must read KEY=VALUE, like cpus=0.2; the keys are {known}")
        said[key] = value
    return said


def _entry(link: DraftLink) -> dict[str, str]:
    entry = {"endpoints": f"[{_scalar(link.a)}, {_scalar(link.b)}]"}
    if link.bandwidth is not None:
        entry["bandwidth"] = BANDWIDTH.format(link.bandwidth)
    return entry | {"delay": f"{round(link.delay * 1e3, 3):g}ms"}


def _scalar(name: str) -> str:
    """As YAML writes a string; some names, like 7 or null, it would take for something else."""
    return name if isinstance(YAML(typ="safe").load(name), str) else f'"{name}"'


def _mapping(values: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"
