"""A shell in a node."""

import subprocess
import sys

from testbed.core.errors import HostError, TestbedError
from testbed.host.machine import connect_docker
from testbed.world.nodes.container import LABEL, container_name


class NoSuchNodeError(TestbedError):
    """There is no such node to open a shell in."""

    exit_code = 2


def open_shell(node: str, run: str | None) -> int:
    """Give the terminal to a shell in ``node`` of a kept run and return its exit code; raises NoSuchNodeError."""
    run = run or _only_run()
    # docker-py hands over a raw socket; putting a terminal on it is what Docker's own client is for.
    terminal = ["-t"] if sys.stdin.isatty() else []
    # The client has contexts of its own, which may name another engine than the one that the run is on.
    command = ["docker", "--context", "default", "exec", "-i", *terminal, container_name(run, node), "sh"]
    try:
        return subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise HostError("Docker's client is missing; to mend it: sudo ./tb doctor") from None


def _only_run() -> str:
    client = connect_docker()
    runs = sorted(
        {container.labels[LABEL] for container in client.containers.list(filters={"label": LABEL}, ignore_removed=True)}
    )
    if not runs:
        raise NoSuchNodeError("no run is standing; start one with: testbed run SCENARIO --keep")
    if len(runs) > 1:
        raise NoSuchNodeError(f"several runs are standing; choose one with --run ({', '.join(runs)})")
    return runs[0]
