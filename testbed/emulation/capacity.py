"""Whether this host has what the nodes of a scenario need, and how slowly time must run for that."""

import math
from collections.abc import Collection, Mapping
from typing import Final

from testbed.emulation.host import host_cpus, host_memory
from testbed.errors import HostError
from testbed.spec.scenario import Scenario
from testbed.units import SIZE

Shares = Mapping[str, float]
"""The cores of each node, by the run's clock."""

_FOR_THE_HOST: Final = 0.2
"""The part of its cores that ``dilation: auto`` leaves to links, runner and Docker's engine."""

_SMALLEST_SHARE: Final = 0.001
"""Of a core: 1 ms in 1 s. The kernel takes no smaller quota (min_cfs_quota_period) and no longer period."""


def threads(cores: float) -> int:
    """How many threads a node computes with that may use so many of the host's cores: the whole ones, at least one."""
    return max(1, int(cores))


def settle_dilation(scenario: Scenario, shares: Shares) -> float:
    """The dilation that is asked for, as a number; raises HostError if the nodes need more than the host has then."""
    fitting = fitting_dilation(shares.values(), host_cpus())
    dilation = fitting if scenario.dilation == "auto" else scenario.dilation
    asked = sum(shares.values())
    if oversubscribed(shares, dilation) and not scenario.oversubscribe:
        of_host = "" if dilation == 1 else f", {asked / dilation:g} of this host's at a dilation of {dilation:g},"
        raise HostError(
            f"the nodes ask for {asked:g} CPUs{of_host} and this host has {host_cpus()}; let time run slower "
            f"(`dilation: auto`, which is {fitting:g} here), lower their `cpus`, or set `oversubscribe: true` and have "
            "it noted in the result"
        )
    for name, share in shares.items():
        if share / dilation < _SMALLEST_SHARE:
            raise HostError(
                f"node {name!r} would have {share / dilation:g} of a core of this host, and the kernel gives no less "
                f"than {_SMALLEST_SHARE:g}; give it more, or take a smaller `dilation`"
            )
    return dilation


def fitting_dilation(shares: Collection[float], cores: float) -> float:
    """The smallest factor, in tenths, with which nodes fit on so many ``cores`` and leave some to the host.

    If that is not 1, no node has more than one core then, since it uses only whole ones of several.
    """
    factor = sum(shares) / (cores * (1 - _FOR_THE_HOST))
    return 1.0 if factor <= 1 else math.ceil(10 * max(factor, *shares)) / 10


def oversubscribed(shares: Shares, dilation: float) -> bool:
    """Whether the nodes may use more CPU than the host has."""
    return sum(shares.values()) / dilation > host_cpus()


def check_memory(caps: Collection[int]) -> None:
    """Raises HostError if the nodes' memory, in bytes, is more than the host has."""
    if sum(caps) > host_memory():
        raise HostError(
            f"the nodes ask for {SIZE.readable(sum(caps))} of memory and this host has "
            f"{SIZE.readable(host_memory())}; lower their `memory`"
        )
