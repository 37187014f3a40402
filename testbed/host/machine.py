"""What this host has."""

import os

import docker
import docker.errors
import psutil

from testbed.core.errors import HostError


def require_root() -> None:
    """Raises HostError for anybody else."""
    if os.geteuid() != 0:
        raise HostError("namespaces and links need root; say: sudo ./tb …")


def host_cpus() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def host_memory() -> int:
    """Bytes of memory."""
    return int(psutil.virtual_memory().total)


def connect_docker() -> docker.DockerClient:
    """The Docker engine; raises HostError if it does not answer."""
    try:
        return docker.from_env(timeout=600)
    except docker.errors.DockerException as error:
        raise HostError("the Docker engine does not answer; to mend it: sudo ./tb doctor") from error
