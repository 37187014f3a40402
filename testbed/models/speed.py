"""How fast this host runs a model."""

import subprocess
import sys
from functools import cache

from testbed.models.source import Model, ModelError


@cache
def core_speed(model: Model) -> float:
    """Tokens a second that a node with a core of its own writes with a model; raises ModelError.

    It is measured by what nodes run, in a process of its own, which takes a second or, with a large model, some ten.
    """
    command = [sys.executable, "-m", "testbed.node.speed", str(model.path)]
    measured = subprocess.run(command, capture_output=True, text=True, check=False)
    if measured.returncode != 0:
        reason = measured.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise ModelError(f"{model.reference}: how fast this host runs it cannot be measured: {reason[0]}")
    return float(measured.stdout)
