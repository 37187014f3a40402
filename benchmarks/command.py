"""What the long benchmarks have in common: how they end, and what they note of where they were made."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from testbed.core.errors import TestbedError


def run(main: Callable[[], None]) -> None:
    """Call ``main``: what a user can be told is one sentence and its exit code, and an interrupt is 130."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        main()
    except TestbedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def commit() -> str:
    """The commit that is measured, with whether it was changed since."""
    describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
