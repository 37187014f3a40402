"""Checks of everything that the testbed relies on."""

import os
import platform
import shutil
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import docker
import psutil
from pyroute2 import IPRoute, NetlinkError

from testbed.core.cache import cache_folder
from testbed.core.errors import HostError
from testbed.core.units import SIZE
from testbed.host.image import chosen_base
from testbed.host.machine import connect_docker, host_cpus
from testbed.host.namespace import in_throwaway_namespace

_APT: Final = "sudo apt-get install"

_PROGRAMS: Final = {
    "mnexec": f"{_APT} --no-install-recommends mininet",
    "bash": f"{_APT} bash",
    "ip": f"{_APT} iproute2",
    "brctl": f"{_APT} bridge-utils",
    "ifconfig": f"{_APT} net-tools",
    "nsenter": f"{_APT} util-linux",
    "ping": f"{_APT} iputils-ping",
    "docker": f"{_APT} docker-cli, or docker.io where there is no such package",
}
"""Programs that the testbed calls, each with the command that installs it."""

_LEAST_MEMORY: Final = 1 << 30
_LEAST_DISK: Final = 2 << 30
"""Bytes that building the image and running a small scenario take."""


@dataclass(frozen=True)
class Finding:
    """The result of a check: the state of its subject, or the problem and the command that mends it."""

    subject: str
    state: str = ""
    problem: str = ""
    mend: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For ``doctor --json``."""
        return asdict(self)


Missing = Callable[[], str | None]
"""Says what this host lacks for a link backend, None if nothing."""


def examine(backends: Mapping[str, Missing]) -> list[Finding]:
    """Look at everything; ``backends`` are the link backends by name, in the order in which a run tries them."""
    programs = [_program(name, mend) for name, mend in _PROGRAMS.items()]
    return [*(look() for look in _LOOKS), _links(backends), *_examine_engine(), *programs]


def _examine_engine() -> list[Finding]:
    try:
        client = connect_docker()
    except HostError:
        return [Finding("Docker engine", problem="does not answer", mend="sudo ./tb image (starts it)")]
    return [look(client) for look in _ENGINE_LOOKS]


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("root", "yes")
    return Finding("root", problem="namespaces and links need root", mend="sudo ./tb doctor")


def _processor() -> Finding:
    return Finding("processor", f"{host_cpus()} cores, {platform.machine()}")


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    if free < _LEAST_MEMORY:
        return Finding("memory", problem=f"only {SIZE.readable(free)} are free", mend="end what else runs here")
    return Finding("memory", f"{SIZE.readable(free)} free")


def _cgroups() -> Finding:
    root = Path("/sys/fs/cgroup")
    unified = root / "cgroup.controllers"
    present = set(unified.read_text().split()) if unified.exists() else {path.name for path in root.glob("*")}
    if absent := {"cpu", "memory"} - present:
        mend = "boot with the kernel parameter cgroup_enable=memory"
        return Finding("cgroups", problem=f"{' and '.join(sorted(absent))} cannot be capped", mend=mend)
    return Finding("cgroups", f"version {2 if unified.exists() else 1}")


def _links(backends: Mapping[str, Missing]) -> Finding:
    """The first backend that this host has, and why not those before it."""
    lacking: list[str] = []
    for name, missing in backends.items():
        if (reason := missing()) is None:
            return Finding("links", "; ".join([name, *lacking]))
        lacking.append(reason)
    return Finding("links", problem="; ".join(lacking), mend="sudo modprobe -a sch_netem tun")


def _bridge() -> Finding:
    if problem := _refusal("bridge"):
        return Finding("switches", problem=f"the kernel makes no bridge ({problem})", mend="sudo modprobe bridge")
    return Finding("switches", "bridges of the kernel")


def _veth() -> Finding:
    # No problem by itself: links in user space do without.
    return Finding("veth", "no; the kernel's links would need it" if _refusal("veth") else "yes")


def _refusal(kind: str) -> str | None:
    """The kernel's reason for making no interface of this kind, found by trying; None if it makes one."""

    def attempt() -> None:
        with IPRoute() as ip:
            ip.link("add", ifname="probe0", kind=kind)

    try:
        in_throwaway_namespace(attempt)
    except (NetlinkError, OSError) as error:
        return str(error.args[-1])
    return None


def _base_image() -> Finding:
    maker = chosen_base() or shutil.which("mmdebstrap")
    if maker is None:
        mend = f"{_APT} mmdebstrap, or name an image: sudo .venv/bin/testbed image --base IMAGE"
        return Finding("base image", problem="mmdebstrap, which makes it, is not installed", mend=mend)
    return Finding("base image", maker)


def _llama() -> Finding:
    try:
        return Finding("llama-cpp-python", version("llama-cpp-python"))
    except PackageNotFoundError:
        return Finding("llama-cpp-python", problem="is not installed", mend="sudo ./tb doctor (builds it)")


def _engine(client: docker.DockerClient) -> Finding:
    return Finding("Docker engine", client.version()["Version"])


def _engine_place(_: docker.DockerClient) -> Finding:
    """Check that the engine is local: a run enters its containers' namespaces and mounts directories into them."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix://"):
        return Finding("Docker's place", problem=f"{address} may be another machine", mend="unset DOCKER_HOST")
    if not _listener(address.removeprefix("unix://")):
        mend = "run the testbed where the engine runs, or start an engine here"
        return Finding("Docker's place", problem="the socket comes from outside this container", mend=mend)
    return Finding("Docker's place", "this machine")


def _listener(path: str) -> int:
    """The id of the process behind a Unix socket; 0 if it is in another PID namespace (unix(7), SO_PEERCRED)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _engine_users(client: docker.DockerClient) -> Finding:
    """Check that user ids are the same in containers: the host gives a node's directory to the node's user."""
    options = {option.split(",")[0] for option in client.info()["SecurityOptions"] or ()}
    if "name=rootless" in options:
        mend = "unset DOCKER_HOST; sudo systemctl start docker"
        return Finding("Docker's users", problem="the engine is rootless and has users of its own", mend=mend)
    if "name=userns" in options:
        mend = "take userns-remap out of /etc/docker/daemon.json; sudo systemctl restart docker"
        return Finding("Docker's users", problem="the engine gives containers users of their own", mend=mend)
    return Finding("Docker's users", "those of the host")


def _engine_disk(client: docker.DockerClient) -> Finding:
    return _disk(
        "Docker's disk",
        Path(client.info()["DockerRootDir"]),
        "make room; this shows what takes it: sudo docker system df",
    )


def _cache_disk() -> Finding:
    return _disk("cache's disk", cache_folder(), "set TESTBED_CACHE to a folder on a larger disk")


def _disk(subject: str, folder: Path, mend: str) -> Finding:
    """Check the free space for ``folder``, which need not exist."""
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if free < _LEAST_DISK:
        return Finding(subject, problem=f"only {SIZE.readable(free)} are free for {folder}", mend=mend)
    return Finding(subject, f"{SIZE.readable(free)} free for {folder}")


def _program(name: str, mend: str) -> Finding:
    place = shutil.which(name)
    return Finding(name, place) if place else Finding(name, problem="is not installed", mend=mend)


_LOOKS: Final[tuple[Callable[[], Finding], ...]] = (
    _root,
    _processor,
    _memory,
    _cache_disk,
    _cgroups,
    _bridge,
    _veth,
    _base_image,
    _llama,
)

_ENGINE_LOOKS: Final[tuple[Callable[[docker.DockerClient], Finding], ...]] = (
    _engine,
    _engine_place,
    _engine_users,
    _engine_disk,
)
"""Checks of an engine that answers."""
