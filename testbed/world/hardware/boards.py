"""How the agents on boards are started.

Two sessions of ssh serve a board. One holds the tunnel to the agent's socket. When it ends, for whatever reason, the
board removes all that the run put there. The other session runs the agent, and may be begun again.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.core.errors import HostError
from testbed.node import config as places
from testbed.world.hardware.board import BoardNode
from testbed.world.hardware.clock import ClockWatch
from testbed.world.hardware.control import Control, quoted
from testbed.world.hardware.entries import Controlled
from testbed.world.hardware.installation import Installation
from testbed.world.hardware.stand_in import StandIn
from testbed.world.journal import Journal
from testbed.world.network.routes import SUBNET
from testbed.world.nodes.handle import PlannedNode, Site, WorldError

TIME_PORT: Final = 8079
_HOLD: Final = "hold"
_ANSWERS: Final = 5.0  # seconds

_KEEP: Final = """
exec 3<&0 >/dev/null 2>&1
trap '' HUP PIPE
{python} {directory}/timeserver.py {control} {port} 3<&- & time=$!
cat <&3
kill -9 $time $(cat {directory}/pid)
{sudo}ip address del {address}/{prefix} dev {interface}
rm -rf {directory}
"""


def start_boards(site: Site, nodes: Mapping[str, PlannedNode]) -> dict[str, BoardNode]:
    """Take the interface of every board from the host, and start its agent; raises HostError or WorldError."""
    return {name: _start(site, planned) for name, planned in nodes.items()}


def _start(site: Site, planned: PlannedNode) -> BoardNode:
    spec, config = planned.spec, planned.config
    assert isinstance(spec, Controlled) and config is not None
    stand_in = StandIn.make(site.journal, planned.name, spec.nic, planned.address)
    control = Control(spec.board, Path(spec.ssh_config) if spec.ssh_config else None, stand_in.namespace)
    stand_in.take_control_address(control.address)
    board = Installation.begin(control, f"tb-{site.journal.run}-{planned.name}")
    model = board.send(config.model_copy(update={"threads": board.cores}), planned.files)
    shared = site.directory / "nodes" / planned.name
    shared.mkdir(parents=True)
    python = board.home / spec.python
    _keep(site.journal, board, shared, quoted(python), planned.address)
    watch = _watch(stand_in, board)
    _admit(stand_in, planned.address, board)
    agent = quoted("env", f"PYTHONPATH={board.code}", "PYTHONDONTWRITEBYTECODE=1", python, "-m", "testbed.node")
    return BoardNode(planned.name, stand_in, board, shared, watch, f"{agent} {board.directory} {model}", site.journal)


def _keep(journal: Journal, board: Installation, shared: Path, python: str, address: str) -> None:
    command = _KEEP.format(
        python=python,
        directory=board.directory,
        control=board.control.address,
        port=TIME_PORT,
        sudo=board.sudo,
        address=address,
        prefix=SUBNET.prefixlen,
        interface=board.interface,
    )
    tunnel = f"{shared / places.SOCKET}:{board.directory / places.SOCKET}"
    os.mkfifo(shared / _HOLD)
    # Open for reading and writing, it never ends: the session's input lasts as long as the session.
    with os.fdopen(os.open(shared / _HOLD, os.O_RDWR), "rb") as hold:
        process = board.control.begin(command, ("-o", "StreamLocalBindUnlink=yes", "-L", tunnel), stdin=hold)
    journal.record_process(process.pid)


def _watch(stand_in: StandIn, board: Installation) -> ClockWatch:
    """The watch of the board's clock; raises HostError if the board does not tell its time."""
    with stand_in.namespace.entered():
        link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    watch = ClockWatch(link, (board.control.address, TIME_PORT))
    if not watch.begin():
        watch.stop()
        raise HostError(f"board {board.control.target} tells no time; let UDP port {TIME_PORT} through its firewall")
    return watch


def _admit(stand_in: StandIn, address: str, board: Installation) -> None:
    """Give the board its address in the emulated network, and let its frames pass; raises HostError or WorldError."""
    board.control.run(f"{board.sudo}ip address replace {address}/{SUBNET.prefixlen} dev {board.interface}")
    mac = stand_in.answering(address, _ANSWERS)
    if mac is None:
        raise WorldError(f"board {board.control.target} does not answer for {address} on the cable")
    stand_in.admit(mac)
