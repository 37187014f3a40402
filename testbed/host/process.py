"""The process that builds worlds: its umask and its limit of open files."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fit_for_worlds() -> Iterator[None]:
    """Let nodes read new files, and open as many files as the kernel allows, until the block ends.

    A node's agent is another user, so the umask must not hide files from it. The relay holds two descriptors a link.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    umask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
