"""What the entries of nodes in a topology file say of hardware."""

from typing import Annotated, ClassVar

from pydantic import Field

from testbed.core.spec import matching
from testbed.schema.network.node import Node

# Linux: at most 15 bytes, no slash, no space (net/core/dev.c, dev_valid_name).
InterfaceName = Annotated[str, *matching(r"[^\s/:]{1,15}", "the name of an interface, like enx00e04c680001")]


class Cabled(Node):
    """A device behind an interface of this host."""

    forwards: ClassVar[bool] = False

    interface: InterfaceName = Field(description="the interface of this host that the device is plugged into")
