"""What can go wrong in a scenario: one file per fault, with its schema, what it does and how that is undone.

A package of somebody else's adds one by an entry point of the group ``testbed.faults``: its name is the key in the
timeline, its object a class derived from :class:`testbed.faults.fault.Fault`.
"""

from importlib.metadata import entry_points
from typing import Final

from testbed.faults.cpu import Cpu
from testbed.faults.cut import Cut
from testbed.faults.degrade import Degrade
from testbed.faults.fault import Fault
from testbed.faults.flap import Flap
from testbed.faults.hang import Hang
from testbed.faults.kill import Kill
from testbed.faults.memory import Memory
from testbed.faults.partition import Partition
from testbed.faults.pause import Pause
from testbed.faults.restart import Restart
from testbed.faults.slow import Slow

FAULTS: Final[dict[str, type[Fault]]] = {
    **{entry.name: entry.load() for entry in entry_points(group="testbed.faults")},
    "cut": Cut,
    "flap": Flap,
    "degrade": Degrade,
    "partition": Partition,
    "pause": Pause,
    "hang": Hang,
    "kill": Kill,
    "restart": Restart,
    "slow": Slow,
    "cpu": Cpu,
    "memory": Memory,
}
"""Every kind of fault, by its key in a timeline."""

__all__ = ["FAULTS", "Fault"]
