"""Whether this host has the CPU and memory that the nodes of a scenario need, and which dilation makes them fit."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from testbed.core.errors import HostError
from testbed.core.units import SIZE
from testbed.host.devices import Device
from testbed.host.machine import host_cpus, host_memory
from testbed.schema.scenario import Scenario

_FOR_THE_HOST: Final = 0.2
"""Share of the host's cores that ``dilation: auto`` leaves to links, runner and Docker engine."""

_SMALLEST_SHARE: Final = 0.001
"""Smallest share of a core: 1 ms in 1 s. The kernel takes no smaller quota (min_cfs_quota_period), no longer period."""


def threads(cores: float) -> int:
    """Threads of a node that may use ``cores`` of the host: one for each whole core, at least one."""
    return max(1, int(cores))


def asked_cpus(devices: Iterable[Device]) -> float:
    """Sum of all nodes' cores, rounded once: twenty times 0.1 is exactly 2."""
    return math.fsum(device.cpus for device in devices)


def check_capacity(scenario: Scenario) -> None:
    """Raise HostError if this host lacks the CPU or memory that the files name.

    The CPU of nodes that are emulated by a device profile is known only once a run has measured the host.
    """
    nodes = scenario.topology.emulated.items()
    named = {name: Device(node.cpus, node.memory) for name, node in nodes if node.cpus is not None}
    check_memory(named)
    settle_dilation(scenario, named)


def settle_dilation(scenario: Scenario, devices: Mapping[str, Device]) -> float:
    """The scenario's dilation as a number; raises HostError if the nodes need more CPU than the host has at it."""
    fitting = fitting_dilation(devices.values(), host_cpus())
    dilation = fitting if scenario.dilation == "auto" else scenario.dilation
    slower = f"let time run slower (`dilation: auto`, which is {fitting:g} here)"
    for name, device in devices.items():
        _check_share(name, device, dilation, slower)
    if oversubscribed(devices, dilation) and not scenario.oversubscribe:
        asked = asked_cpus(devices.values())
        of_host = "" if dilation == 1 else f", {asked / dilation:.4g} of this host's at a dilation of {dilation:g},"
        raise HostError(
            f"the nodes ask for {asked:.4g} CPUs{of_host} and this host has {host_cpus()}; {slower}, lower their "
            "`cpus`, or set `oversubscribe: true` and have it noted in the result"
        )
    return dilation


def _check_share(name: str, device: Device, dilation: float, slower: str) -> None:
    share = device.cpus / dilation
    if share < _SMALLEST_SHARE:
        raise HostError(
            f"node {name!r} would have {share:.3g} of a core of this host, and the kernel gives no less than "
            f"{_SMALLEST_SHARE:g}; give it more, or take a smaller `dilation`"
        )
    if device.speed is not None and share > 1:
        raise HostError(
            f"node {name!r} would need {share:.3g} cores of this host and computes with one: {device.speed}; "
            f"{slower}, or take a slower device"
        )


def fitting_dilation(devices: Collection[Device], cores: float) -> float:
    """The smallest dilation, in tenths, at which the nodes fit on ``cores`` cores and leave a part to the host.

    Above 1 it also gives no node more than one core, since a node uses only whole cores.
    """
    everything = asked_cpus(devices) / (cores * (1 - _FOR_THE_HOST))
    factor = max([everything, *(device.cpus for device in devices if device.speed)])
    return 1.0 if factor <= 1 else math.ceil(10 * max([factor, *(device.cpus for device in devices)])) / 10


def oversubscribed(devices: Mapping[str, Device], dilation: float) -> bool:
    """Whether the nodes together may use more CPU than the host has."""
    return asked_cpus(devices.values()) / dilation > host_cpus()


def check_memory(devices: Mapping[str, Device]) -> None:
    """Raise HostError if the nodes together ask for more memory than the host has."""
    asked = sum(device.memory for device in devices.values())
    if asked > host_memory():
        raise HostError(
            f"the nodes ask for {SIZE.readable(asked)} of memory and this host has "
            f"{SIZE.readable(host_memory())}; lower their `memory`"
        )
