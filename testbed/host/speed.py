"""How fast this host runs a model."""

import signal
import subprocess
import sys
import time
from functools import cache

from testbed.host.cfs import cap_period
from testbed.models.resolution import Model, ModelError


@cache
def core_speed(model: Model, share: float) -> float:
    """Tokens that a node with a ``share`` of a core, or all of one, writes in a second of CPU time; raises ModelError.

    Who is stopped a hundred times a second finds his caches cold each time, and does less in his time than who goes on.
    So it is measured by what nodes run, in a process of its own, which is stopped as often as they are. It takes a
    second or, with a large model, some ten.
    """
    command = [sys.executable, "-m", "testbed.node.engine.speed", str(model.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # once it is warm, or has failed
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
    """Stop a process, and let it go on, for one period."""
    period = cap_period(share)
    process.send_signal(signal.SIGSTOP)
    time.sleep((1 - share) * period)
    process.send_signal(signal.SIGCONT)
    time.sleep(share * period)
