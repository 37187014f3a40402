"""What the entries of nodes in a topology file say of hardware."""

from typing import Annotated, ClassVar, Final

from pydantic import Field, ValidationInfo, field_validator

from testbed.core.input_files import anchored
from testbed.core.spec import matching
from testbed.schema.network.node import ModelNode, Node

PYTHON: Final = ".cache/testbed/venv/bin/python"
"""The Python that `testbed board prepare` makes, below the user's home on the board."""

# Linux: at most 15 bytes, no slash, no space (net/core/dev.c, dev_valid_name).
InterfaceName = Annotated[str, *matching(r"[^\s/:]{1,15}", "the name of an interface, like enx00e04c680001")]


ControlAddress = Annotated[
    str,
    *matching(
        r"([A-Za-z_][A-Za-z0-9_.-]*@)?(\d{1,3}\.){3}\d{1,3}",
        "an IPv4 address on the cable, like pi@169.254.7.2",
    ),
]


class Cabled(Node):
    """A device behind an interface of this host."""

    forwards: ClassVar[bool] = False

    interface: InterfaceName = Field(description="the interface of this host that the device is plugged into")


class Controlled(ModelNode):
    """A board behind an interface of this host, which runs the testbed's agent."""

    forwards: ClassVar[bool] = False

    board: ControlAddress = Field(description="where ssh reaches the board on the cable, like pi@169.254.7.2")
    nic: InterfaceName = Field(description="the interface of this host that the board is plugged into")
    python: str = Field(
        PYTHON, description="the board's Python that has a node's packages; by default that of `testbed board prepare`"
    )
    ssh_config: str | None = Field(None, description="file of options for ssh in place of the user's own (ssh -F)")

    @field_validator("ssh_config")
    @classmethod
    def _anchor_config(cls, path: str | None, info: ValidationInfo) -> str | None:
        """Make the path absolute, from the directory of the topology file."""
        return path and str(anchored(path, info.context, "topology"))
