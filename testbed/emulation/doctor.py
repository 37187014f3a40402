"""Everything the testbed relies on, looked at one by one."""

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from testbed.emulation.links import kernel, userspace
from testbed.emulation.plan import connect_docker, host_cpus
from testbed.errors import HostError

_APT: Final = "sudo apt-get install"

_PROGRAMS: Final = {
    "mnexec": f"{_APT} --no-install-recommends mininet",
    "brctl": f"{_APT} bridge-utils",
    "ifconfig": f"{_APT} net-tools",
    "nsenter": f"{_APT} util-linux",
    "ping": f"{_APT} iputils-ping",
    "docker": f"{_APT} docker.io",
    "mmdebstrap": f"{_APT} mmdebstrap",
}
"""Programs that the testbed calls, and how to get them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, or what is wrong with it and the command that mends it."""

    subject: str
    state: str = ""
    problem: str = ""
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``doctor --json``."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything."""
    programs = [_program(name, mend) for name, mend in _PROGRAMS.items()]
    return [*(look() for look in _LOOKS), *programs]


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("root", "yes")
    return Finding("root", problem="namespaces and links need root", mend="sudo ./tb doctor")


def _processor() -> Finding:
    return Finding("processor", f"{host_cpus()} cores, {platform.machine()}")


def _engine() -> Finding:
    try:
        client = connect_docker()
    except HostError:
        return Finding("Docker engine", problem="does not answer", mend="sudo ./tb image (starts it)")
    return Finding("Docker engine", client.version()["Version"])


def _cgroups() -> Finding:
    root = Path("/sys/fs/cgroup")
    unified = root / "cgroup.controllers"
    present = set(unified.read_text().split()) if unified.exists() else {path.name for path in root.glob("*")}
    if absent := {"cpu", "memory"} - present:
        mend = "boot with the kernel parameter cgroup_enable=memory"
        return Finding("cgroups", problem=f"{' and '.join(sorted(absent))} cannot be capped", mend=mend)
    return Finding("cgroups", f"version {2 if unified.exists() else 1}")


def _links() -> Finding:
    if (without_kernel := kernel.missing()) is None:
        return Finding("links", "kernel (netem)")
    if (without_tun := userspace.missing()) is None:
        return Finding("links", f"userspace; {without_kernel}")
    return Finding("links", problem=f"{without_kernel}; {without_tun}", mend="sudo modprobe -a sch_netem tun")


def _llama() -> Finding:
    try:
        return Finding("llama-cpp-python", version("llama-cpp-python"))
    except PackageNotFoundError:
        return Finding("llama-cpp-python", problem="is not installed", mend="sudo ./tb doctor (builds it)")


def _program(name: str, mend: str) -> Finding:
    place = shutil.which(name)
    return Finding(name, place) if place else Finding(name, problem="is not installed", mend=mend)


_LOOKS: Final[tuple[Callable[[], Finding], ...]] = (_root, _processor, _engine, _cgroups, _links, _llama)
