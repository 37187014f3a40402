"""The date of a response. It is the host's: no time of the run is taken from it."""

import time


def unix_time() -> int:
    """Seconds since 1970."""
    return int(time.time())
