"""Cores, memory, root and Docker engine of this host."""

import os

import docker
import docker.errors
import psutil

from testbed.core.errors import HostError


def require_root() -> None:
    """Raise HostError if this process is not root's."""
    if os.geteuid() != 0:
        raise HostError("namespaces and links need root; say: sudo ./tb …")


def host_cpus() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def host_memory() -> int:
    """Memory of the host, in bytes."""
    return int(psutil.virtual_memory().total)


def connect_docker() -> docker.DockerClient:
    """A client of the Docker engine; raises HostError if the engine does not answer."""
    try:
        return docker.from_env(timeout=600)
    except docker.errors.DockerException as error:
        raise HostError("the Docker engine does not answer; to mend it: sudo ./tb doctor") from error
