"""What this host has that a testbed can use besides its processor: interfaces, boards, power sensors and GPUs.

Sensors are found where Linux shows them: Documentation/hwmon/sysfs-interface.rst, Documentation/power/powercap.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute

from testbed.host.interfaces import Address, Interface, interfaces, why_not_lendable

SYS: Final = Path("/sys")
_ANSWERED: Final = 0x02 | 0x04  # NUD_REACHABLE, NUD_STALE of linux/neighbour.h
_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Part:
    """One thing: its sort, what it is called here, what is known of it, and what it can be used for.

    ``use`` is empty where it cannot be used; ``detail`` then says why.
    """

    sort: str
    name: str
    detail: str
    use: str

    def as_dict(self) -> dict[str, Any]:
        """For ``hardware --json``."""
        return asdict(self)


def parts() -> list[Part]:
    """The interfaces, boards, power sensors and GPUs of this host, in this order."""
    found = interfaces()
    return [*_interfaces(found), *_boards(found), *_counters(SYS), *_monitors(SYS), *_gpus()]


def _interfaces(found: dict[str, Interface]) -> Iterator[Part]:
    for name, interface in found.items():
        if (SYS / "devices/virtual/net" / name).exists() and not interface.addresses:
            continue  # made by the kernel or by another program, without a cable
        if (reason := why_not_lendable(interface)) is not None:
            yield Part("interface", name, reason, "")
            continue
        state = ", ".join(map(str, interface.addresses)) or ("up" if interface.up else "down")
        yield Part("interface", name, state, f"a node: {{interface: {name}}}, or `nic: {name}` of a board")


def _boards(found: dict[str, Interface]) -> Iterator[Part]:
    """Who has answered on a free interface from an address of the cable."""
    with IPRoute() as ip:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
        for neighbour in ip.get_neighbours():
            name, address = names.get(neighbour["ifindex"], ""), neighbour.get_attr("NDA_DST") or ""
            known = neighbour["state"] & _ANSWERED and "." in address and Address(address, 16).link_local
            if known and name in found and why_not_lendable(found[name]) is None:
                use = f"a node: {{board: USER@{address}, nic: {name}, model: …}}"
                yield Part("board", address, f"answers on {name}", use)


def _counters(sys: Path) -> Iterator[Part]:
    for path in sorted(sys.glob("class/powercap/*/energy_uj")):
        with suppress(OSError):
            name = (path.parent / "name").read_text().strip()
            yield Part("sensor", path.parent.name, f"RAPL energy counter of {name}", "energy of this host")


def _monitors(sys: Path) -> Iterator[Part]:
    for path in sorted(sys.glob("class/hwmon/hwmon*/power*_input")):
        with suppress(OSError):
            chip = (path.parent / "name").read_text().strip()
            name = f"{path.parent.name}/{path.name}"
            yield Part("sensor", name, f"power of {chip}, in µW", "the power of what it is wired to")


def _gpus() -> Iterator[Part]:
    if shutil.which("nvidia-smi") is None:
        return
    command = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader"]
    with suppress(subprocess.SubprocessError):
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS).stdout
        for line in listed.splitlines():
            index, name, memory = (field.strip() for field in line.split(","))
            yield Part("gpu", index, f"{name}, {memory}", "a node's `gpu`")
