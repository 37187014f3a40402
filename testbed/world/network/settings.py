"""The kernel's network settings in a node's namespace."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# Documentation/networking/ip-sysctl.rst of Linux. `default` holds for interfaces that are made later.
NO_IPV6: Final = {
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}
_WAITS_BY_ITSELF: Final = 60.0  # seconds for a connection
_WAITS_FOR_ARP: Final = 15.0  # of patience; a round trip is less than a quarter of it

FORWARD: Final = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/arp_filter": "1",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
}


def apply(settings: Mapping[str, str]) -> None:
    """Write sysctls in the namespace of this thread. Those that the kernel does not have are skipped."""
    for name, value in settings.items():
        setting = Path("/proc/sys/net", name)
        if setting.exists():
            setting.write_text(value)


def retries(seconds: float) -> dict[str, str]:
    """The settings by which a kernel waits that long for a connection; none where its own suffice.

    The waits for an answer double from 1 s up to 120 s, with 5 or 6 repetitions to 63 s or more (tcp(7)).
    """
    if seconds < _WAITS_BY_ITSELF:
        return {}
    repetitions = str(min(127, 6 + math.ceil(seconds / 120)))
    return dict.fromkeys(("ipv4/tcp_syn_retries", "ipv4/tcp_synack_retries"), repetitions)


def solicitations(interfaces: Iterable[str], seconds: float) -> dict[str, str]:
    """The settings by which a kernel waits that long for an address by ARP; none where its own 3 s suffice (arp(7))."""
    if seconds < _WAITS_FOR_ARP:
        return {}
    names = (f"ipv4/neigh/{name}/{kind}_solicit" for name in interfaces for kind in ("mcast", "ucast"))
    return dict.fromkeys(names, str(math.ceil(seconds)))  # one a second
