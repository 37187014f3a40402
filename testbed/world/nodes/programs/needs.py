"""What a program needs of the host: its image, GPUs, and its secrets in the environment."""

import os
from collections.abc import Mapping
from typing import Final

import docker
from docker.errors import ImageNotFound

from testbed.core.errors import HostError, SpecError
from testbed.host.image import made_here
from testbed.world.nodes.programs.spec import ProgramSpec

SECRET: Final = "env:"
"""The prefix of a value that stands in the environment of the run, and in none of its files."""

_TOOLKIT: Final = (
    "sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker && "
    "sudo systemctl restart docker"
)


def check(name: str, program: ProgramSpec, engine: docker.DockerClient) -> None:
    """Raise HostError if the engine lacks the image or GPUs, SpecError if a secret is not in the environment."""
    secrets(name, program.environment)
    try:
        engine.images.get(program.image)
    except ImageNotFound:
        get = made_here(program.image) or f"docker pull {program.image}"
        raise HostError(
            f"node {name!r}: the engine has no image {program.image}, and the testbed pulls none; to get it: {get}"
        ) from None
    if program.gpu and not _gives_gpus(engine):
        raise HostError(f"node {name!r}: this host's engine can give no GPU to a container; to mend it: {_TOOLKIT}")


def _gives_gpus(engine: docker.DockerClient) -> bool:
    """Whether the engine has NVIDIA's runtime, or devices by NVIDIA's interface (CDI)."""
    info = engine.info()
    devices = (device.get("ID", "") for device in info.get("DiscoveredDevices") or ())
    return "nvidia" in (info.get("Runtimes") or {}) or any(device.startswith("nvidia.com/gpu") for device in devices)


def secrets(node: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The secret values by the names of their variables; raises SpecError for one that is not there."""
    found = {}
    for variable, value in environment.items():
        if value.startswith(SECRET):
            name = value.removeprefix(SECRET)
            if not os.environ.get(name):
                where = f"nodes.{node}.environment.{variable}"
                raise SpecError.of(where, f"the environment has no {name}; set it, and keep it through sudo: sudo -E")
            found[variable] = os.environ[name]
    return found
