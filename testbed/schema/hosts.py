"""The hosts file: the machines that one world stands on together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from testbed.core.errors import SpecError
from testbed.core.spec import Spec, matching
from testbed.core.units import Size
from testbed.schema.network.node import Emulated
from testbed.schema.network.topology import Topology
from testbed.schema.reading.document import Document
from testbed.schema.reading.explain import Mistake

HostName = Annotated[
    str,
    *matching("[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", "at most 32 small letters, digits and inner hyphens"),
]


class EngineHost(Spec):
    """A machine with a Docker engine, and how much of it nodes may have."""

    cpus: float = Field(gt=0, allow_inf_nan=False, description="cores for the nodes, like 7.5")
    memory: Size = Field(gt=0, description="memory for the nodes, like 16GiB")
    nodes: list[str] = Field(default_factory=list, description="nodes and switches that must stand on it")


class EngineHosts(RootModel[dict[HostName, EngineHost]]):
    """A file of engine hosts, by name."""

    root: dict[HostName, EngineHost] = Field(min_length=1)

    @property
    def chosen(self) -> dict[str, str]:
        """The hosts that the file itself chooses, by node and switch."""
        return {name: host for host, said in self.root.items() for name in said.nodes}


def load_hosts(path: Path, topology: Topology) -> EngineHosts:
    """Read the file of the hosts that a topology is to stand on; raises SpecError with all mistakes."""
    document = Document.load(path)
    hosts = document.parse(EngineHosts)
    if mistakes := [*_name_mistakes(hosts, topology), *_unchosen(hosts, topology)]:
        raise SpecError([document.problem(*mistake) for mistake in mistakes])
    return hosts


def _name_mistakes(hosts: EngineHosts, topology: Topology) -> Iterator[Mistake]:
    known, seen = [*topology.nodes, *topology.switches], dict[str, str]()
    for host, said in hosts.root.items():
        for index, name in enumerate(said.nodes):
            if name not in known:
                yield (host, "nodes", index), f"there is no node or switch {name!r}; known are {', '.join(known)}"
            elif name in seen:
                yield (host, "nodes", index), f"{name!r} is on {seen[name]!r} already; name it once"
            seen.setdefault(name, host)


def _unchosen(hosts: EngineHosts, topology: Topology) -> Iterator[Mistake]:
    """Nodes that no CPU and memory place: what they are connected to is at one host."""
    for name, node in topology.nodes.items():
        if not isinstance(node, Emulated) and name not in hosts.chosen:
            yield (
                (),
                f"node {name!r} of kind {node.kind!r} has no host; list it under `nodes` of the host that reaches it",
            )
