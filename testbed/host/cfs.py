"""CPU caps by the kernel's CFS bandwidth control (kernel documentation: scheduler/sched-bwc)."""

from typing import Final

CFS_PERIOD: Final = 0.010
"""Seconds. At Docker's 0.1 a node with 0.3 CPU runs for 30 ms and then stands still for 70."""

_SMALLEST_QUOTA: Final = 0.001  # seconds; the kernel takes no less (min_cfs_quota_period)
_LONGEST_PERIOD: Final = 1.0  # seconds; the kernel takes no more (max_cfs_quota_period)


def cap_period(cpus: float, usual: float = CFS_PERIOD) -> float:
    """Seconds of the period in which a cap of ``cpus`` cores is kept.

    The period is longer than usual where the quota would be below the kernel's smallest.
    """
    return min(max(usual, _SMALLEST_QUOTA / cpus), _LONGEST_PERIOD)
