"""Two hosts joined by one link, of a backend of the testbed or Mininet's TCLink.

namespace a ─ eth0 ══ the link under test ══ eth0 ─ namespace b
  10.0.0.1, fd00::1                           10.0.0.2, fd00::2
"""

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from pyroute2 import IPRoute

from testbed.host.namespace import Namespace
from testbed.schema.network.direction import Direction
from testbed.schema.network.link import Link
from testbed.world.journal import Journal
from testbed.world.network.links.backend import End, LinkBackend, backends
from testbed.world.network.links.kernel import KERNEL
from testbed.world.network.links.running import RunningLinks

ADDRESSES: Final = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}
"""The addresses of a and b, by version of IP."""

_PREFIX = {4: 24, 6: 64}
_NO_DUPLICATE_DETECTION = 0x02  # IFA_F_NODAD of linux/if_addr.h: the address can be used at once


@dataclass(frozen=True)
class Pair:
    """Two hosts and the link between them."""

    a: Namespace
    b: Namespace


class Bench(Protocol):
    """Makes links, which are removed when the context ends."""

    def join(self, up: Direction, down: Direction) -> Pair:
        """Two new hosts and a link with the properties ``up`` from a to b and ``down`` from b to a."""


AnyBench = TypeVar("AnyBench", bound=Bench, covariant=True)


@dataclass(frozen=True)
class Contender(Generic[AnyBench]):
    """An implementation of links. ``missing`` returns what this host lacks for it, or None."""

    name: str
    missing: Callable[[], str | None]
    bench: Callable[[], AbstractContextManager[AnyBench]]


@dataclass
class BackendBench:
    """Links of a backend of the testbed."""

    journal: Journal
    links: RunningLinks
    names: dict[Pair, str] = field(default_factory=dict)

    def join(self, up: Direction, down: Direction) -> Pair:
        """See :class:`Bench`."""
        pair = _new_pair(self.journal)
        link = Link(f"a{len(self.names)}", f"b{len(self.names)}", up, down)
        self.links.connect(link, End("eth0", pair.a), End("eth0", pair.b))
        self.names[pair] = link.name
        _give_addresses(pair)
        return pair

    def change(self, pair: Pair, said: Mapping[str, Any]) -> None:
        """Change properties of a link in both directions, while it carries frames."""
        self.links.change(self.names[pair], {"up": said, "down": said})


@dataclass
class MininetBench:
    """Mininet's TCLinks, each in a process and a network namespace of its own."""

    journal: Journal
    ending: ExitStack

    def join(self, up: Direction, down: Direction) -> Pair:
        """See :class:`Bench`."""
        order = json.dumps({"up": _in_mininets_words(up), "down": _in_mininets_words(down)})
        with _new_namespace(self.journal).entered():
            command = [sys.executable, str(Path(__file__).with_name("tclink.py")), order]
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
        self.journal.record_process(process.pid)
        self.ending.enter_context(process)  # which closes its standard input and waits
        assert process.stdout is not None
        pids = process.stdout.readline().split()
        if len(pids) != 2:
            raise RuntimeError("Mininet ended before its hosts were there")
        return Pair(*(Namespace.of_process(int(pid)) for pid in pids))


def _in_mininets_words(direction: Direction) -> dict[str, Any]:
    """The arguments of TCLink: Mbit/s, a delay with its unit, and percent; without those that are 0 or None."""
    words = {
        "bw": direction.bandwidth and direction.bandwidth / 1e6,
        "delay": direction.delay and f"{direction.delay * 1e6:.0f}us",
        "loss": direction.loss.mean * 100,
    }
    return {key: value for key, value in words.items() if value}


def _new_pair(journal: Journal) -> Pair:
    return Pair(_new_namespace(journal), _new_namespace(journal))


def _new_namespace(journal: Journal) -> Namespace:
    number = sum(record.kind == "namespace" for record in journal.records())
    name = f"tb-{journal.run}-{number}"
    journal.record("namespace", name)
    return Namespace.create(name)


def _give_addresses(pair: Pair) -> None:
    for host, namespace in enumerate((pair.a, pair.b)):
        with namespace.entered(), IPRoute() as ip:
            index = ip.link_lookup(ifname="eth0")[0]
            for version, addresses in ADDRESSES.items():
                ip.addr(
                    "add",
                    index=index,
                    address=addresses[host],
                    prefixlen=_PREFIX[version],
                    flags=_NO_DUPLICATE_DETECTION if version == 6 else 0,
                )
            ip.link("set", index=index, state="up")


@contextmanager
def _journal() -> Iterator[Journal]:
    journal = Journal.begin()
    try:
        yield journal
    finally:
        journal.undo()
        journal.close()


@contextmanager
def _backend_bench(backend: LinkBackend) -> Iterator[BackendBench]:
    with tempfile.TemporaryDirectory() as directory, _journal() as journal:
        yield BackendBench(journal, RunningLinks.begin(backend, journal, Path(directory), seed=secrets.randbits(32)))


@contextmanager
def _mininet_bench() -> Iterator[MininetBench]:
    with _journal() as journal, ExitStack() as ending:
        yield MininetBench(journal, ending)


def _of_backend(backend: LinkBackend) -> Contender[BackendBench]:
    return Contender(backend.name, backend.missing, lambda: _backend_bench(backend))


OWN: Final = {backend.name: _of_backend(backend) for backend in backends()}
"""The testbed's backends, by name."""

TCLINK: Final = Contender("tclink", KERNEL.missing, _mininet_bench)
"""Mininet's TCLink, which needs netem like the kernel backend."""

CONTENDERS: Final[dict[str, Contender[Bench]]] = {**OWN, TCLINK.name: TCLINK}
