"""The speed of a model on this host."""

import signal
import subprocess
import sys
import time
from functools import cache

from testbed.host.cfs import cap_period
from testbed.models.resolution import Model, ModelError


@cache
def core_speed(model: Model, share: float) -> float:
    """Tokens that a node with a ``share`` of a core writes in a second of CPU time; raises ModelError.

    A process stopped 100 times a second restarts with cold caches, so it does less work per CPU second. The measurement
    therefore runs the code of a node in a process that is stopped as often as a node. It takes a second, or about ten
    with a large model.
    """
    command = [sys.executable, "-m", "testbed.node.engine.speed", str(model.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the process is warm, or has failed
        try:
            while share < 1 and process.poll() is None:
                _let_run(process, share)
            speed, errors = process.communicate()
        finally:
            process.kill()
    if process.returncode != 0:
        reason = errors.strip().splitlines()[-1:] or ["it gave no reason"]
        raise ModelError(f"{model.reference}: how fast this host runs it cannot be measured: {reason[0]}")
    return float(speed)


def _let_run(process: "subprocess.Popen[str]", share: float) -> None:
    """Stop a process and continue it, for one period of the CPU quota."""
    period = cap_period(share)
    process.send_signal(signal.SIGSTOP)
    time.sleep((1 - share) * period)
    process.send_signal(signal.SIGCONT)
    time.sleep(share * period)
