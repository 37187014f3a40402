"""How the containers of programs are made."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from docker.models.containers import Container
from docker.types import DeviceRequest, Mount

from testbed.host.cfs import CFS_PERIOD, cap_period
from testbed.host.image import NODE_UID
from testbed.node import config as places
from testbed.world.nodes.containers import NO_NETWORK, STARTS_AT_ONCE, container_name, create_container, holder_name
from testbed.world.nodes.handle import PlannedNode, Site
from testbed.world.nodes.programs.needs import SECRET, secrets
from testbed.world.nodes.programs.node import ProgramNode
from testbed.world.nodes.programs.spec import ProgramSpec

_MICROSECONDS: Final = 1e6
_HOLDER_MEMORY: Final = 16 * 2**20


def make_programs(site: Site, nodes: Mapping[str, PlannedNode]) -> dict[str, ProgramNode]:
    """Make a program's container for every node, and start what holds its network; raises WorldError."""
    run = site.journal.run

    def make(name: str) -> ProgramNode:
        planned = nodes[name]
        assert isinstance(planned.spec, ProgramSpec) and planned.device is not None  # it is emulated
        own = _own_directory(site, name)
        holder = _hold(site, name)
        site.journal.record_created(holder_name(run, name))
        container = _create(site, planned, planned.spec, own)
        site.journal.record_created(container_name(run, name))
        return ProgramNode(planned, planned.spec, holder, container, own, site)

    for kind, called in (("namespace", container_name), ("container", holder_name), ("container", container_name)):
        for name in nodes:
            site.journal.record(kind, called(run, name))
    with ThreadPoolExecutor(STARTS_AT_ONCE) as pool:
        made = dict(zip(nodes, pool.map(make, nodes), strict=True))
    for node in made.values():
        node.wait_for({name: made[name] for name in node.spec.after})
    return made


def _own_directory(site: Site, name: str) -> Path:
    """The directory that a program can write to, and that the host sees."""
    directory = site.directory / "nodes" / name
    directory.mkdir(parents=True)
    os.chown(directory, NODE_UID, NODE_UID)
    return directory


def _hold(site: Site, name: str) -> Container:
    """The container whose network the program joins. It sleeps: the network outlives the program."""
    return create_container(
        site,
        name,
        site.image,
        _HOLDER_MEMORY,
        name=holder_name(site.journal.run, name),
        entrypoint=["sleep"],
        command=["infinity"],
        hostname=name,
        pids_limit=8,
        **NO_NETWORK,
    )


def _create(site: Site, planned: PlannedNode, spec: ProgramSpec, own: Path) -> Container:
    assert planned.device is not None
    name, share = planned.name, planned.device.cpus / site.clock.dilation
    period = round(_MICROSECONDS * cap_period(share, site.clock.real(CFS_PERIOD)))
    read = {**{str(inside): str(path) for inside, path in planned.files.items()}, **spec.files}
    mounts = [Mount(str(places.SHARED), str(own), type="bind")]
    mounts += [Mount(inside, path, type="bind", read_only=True) for inside, path in read.items()]
    environment = {key: value for key, value in spec.environment.items() if not value.startswith(SECRET)}
    return create_container(
        site,
        name,
        spec.image,
        planned.device.memory,
        mounts,
        name=container_name(site.journal.run, name),
        command=spec.command,
        environment={"HOME": str(places.SHARED), **environment, **secrets(name, spec.environment)},
        network_mode=f"container:{holder_name(site.journal.run, name)}",
        cpu_period=period,
        cpu_quota=round(period * share),
        pids_limit=spec.processes,
        device_requests=gpu_requests(spec.gpu),
    )


def gpu_requests(count: int) -> list[DeviceRequest]:
    """What the engine is asked for, as by ``docker run --gpus COUNT``."""
    return [DeviceRequest(driver="nvidia", count=count, capabilities=[["gpu"]])] if count else []
