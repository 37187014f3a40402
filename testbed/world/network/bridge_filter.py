"""What passes the bridge between a link's end and an interface of the host, by the kernel's filter (ebtables(8)).

Only frames of the node's own address pass. What the host and the board say to each other over the cable never leaves by
the link, and nothing from the link reaches the host.
"""

import subprocess
from collections.abc import Collection, Iterator
from typing import Final

from testbed.core.errors import HostError
from testbed.host.lending import LENT
from testbed.host.namespace import Namespace
from testbed.world.network.routes import SUBNET

_LINK: Final = "eth0"
_DEAF: Final = "DEAF"


def close(namespace: Namespace) -> None:
    """Let nothing pass; raises HostError if the kernel cannot filter so, or the program is missing."""
    _apply(
        namespace,
        "-P FORWARD DROP",
        f"-A OUTPUT -o {_LINK} -j DROP",
        f"-A INPUT -i {_LINK} -j DROP",
        f"-N {_DEAF} -P RETURN",
        f"-A FORWARD -i {_LINK} -j {_DEAF}",
    )


def admit(namespace: Namespace, mac: str, address: str) -> None:
    """Let frames of the network's nodes pass to ``address``, and those back that come from there and from ``mac``."""
    _apply(namespace, *_passing(mac, address))


def deafen(namespace: Namespace, others: Collection[str]) -> None:
    """Let no packets from the addresses ``others`` pass to the cable, and those of all others that are admitted."""
    _apply(namespace, f"-F {_DEAF}", *(f"-A {_DEAF} -p IPv4 --ip-src {one} -j DROP" for one in sorted(others)))


def _passing(mac: str, address: str) -> Iterator[str]:
    there, back = f"-A FORWARD -i {LENT} -o {_LINK} -s {mac}", f"-A FORWARD -i {_LINK} -o {LENT}"
    yield f"{there} -p IPv4 --ip-src {address} --ip-dst {SUBNET} -j ACCEPT"
    yield f"{there} -p ARP --arp-ip-src {address} --arp-ip-dst {SUBNET} -j ACCEPT"
    yield f"{back} -p IPv4 --ip-src {SUBNET} --ip-dst {address} -j ACCEPT"
    yield f"{back} -p ARP --arp-ip-dst {address} -j ACCEPT"


def _apply(namespace: Namespace, *rules: str) -> None:
    with namespace.entered():
        for rule in rules:
            try:
                done = subprocess.run(["ebtables", *rule.split()], capture_output=True, text=True, check=False)
            except FileNotFoundError:
                raise HostError("ebtables is missing; to mend it: sudo apt-get install iptables ebtables") from None
            if done.returncode:
                raise HostError(f"the kernel does not filter what bridges forward: {done.stderr.strip()}")
