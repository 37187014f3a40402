"""Mininet's TCLink between two hosts, in a process of its own: ``python tclink.py ORDER``.

ORDER is ``{"up": PARAMETERS, "down": PARAMETERS}`` in JSON, with Mininet's names and units. It prints the process ids
of both hosts, which identify their namespaces, and removes everything when its standard input ends. Start it in a
network namespace that can be discarded.
"""

import json
import sys
from typing import Any

from mininet.link import TCLink
from mininet.log import setLogLevel
from mininet.net import Mininet


def main(up: dict[str, Any], down: dict[str, Any]) -> None:
    """Keep the link until standard input ends."""
    setLogLevel("error")
    Mininet.inited = True  # otherwise its first instance raises limits and sysctls of the whole host
    net = Mininet(controller=None, build=False)
    hosts = [net.addHost(name, ip=f"10.0.0.{number}/24") for number, name in enumerate("ab", start=1)]
    net.addLink(*hosts, cls=TCLink, params1=up, params2=down)
    net.build()
    for number, host in enumerate(hosts, start=1):
        host.cmd(f"ip address add fd00::{number}/64 dev {host.defaultIntf()} nodad")
    print(*(host.pid for host in hosts), flush=True)
    sys.stdin.read()
    net.stop()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
