"""A shell in a node."""

import subprocess
import sys

from testbed.core.errors import HostError, TestbedError
from testbed.host.machine import connect_docker
from testbed.world.nodes.containers import LABEL, container_name


class NoSuchNodeError(TestbedError):
    """No running node fits what was asked for."""

    exit_code = 2


def open_shell(node: str, run: str | None) -> int:
    """Run a shell in ``node`` of a kept run, on this terminal; returns the shell's exit code.

    Without ``run``, the only kept run is meant. Raises NoSuchNodeError if there is none, or several.
    """
    run = run or _only_run()
    # docker-py gives a raw socket; Docker's own client puts a terminal on it.
    terminal = ["-t"] if sys.stdin.isatty() else []
    # The client's current context may name another engine than the run's.
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
        raise NoSuchNodeError("no kept run is running; start one with: testbed run SCENARIO --keep")
    if len(runs) > 1:
        raise NoSuchNodeError(f"several kept runs are running; choose one with --run ({', '.join(runs)})")
    return runs[0]
