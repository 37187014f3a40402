"""Commands in a node, and what a node has printed."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from testbed.core.errors import HostError

DOCKER: Final = ("docker", "--context", "default")
"""Docker's client. Its current context may name another engine than the run's."""


def execute_in(container: str, command: Sequence[str]) -> int:
    """Run a command in a node's container, on this terminal; returns its exit status."""
    # docker-py gives a raw socket; Docker's own client puts a terminal on it.
    terminal = ["-t"] if sys.stdin.isatty() else []
    return _docker("exec", "-i", *terminal, container, *command)


def print_log(container: str, follow: bool) -> int:
    """Print what the node's agent has printed, and what it prints until the node ends if ``follow``."""
    return _docker("logs", *(["--follow"] if follow else []), container)


def _docker(*arguments: str) -> int:
    try:
        return subprocess.run([*DOCKER, *arguments], check=False).returncode
    except FileNotFoundError:
        raise HostError("Docker's client is missing; to mend it: sudo ./tb doctor") from None
