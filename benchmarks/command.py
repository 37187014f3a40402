"""Shared by the long benchmarks: exit codes, and the commit that is recorded."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from testbed.core.errors import TestbedError


def run(main: Callable[[], None]) -> None:
    """Call ``main``. A TestbedError ends with its sentence and exit code, an interrupt with 130."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        main()
    except TestbedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def commit() -> str:
    """The checked-out commit, with ``-dirty`` if files differ from it."""
    describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
