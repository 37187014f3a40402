"""What is kept between runs, and can be deleted at any time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Where it is kept; `tb` keeps its wheels and logs there as well."""
    return Path(os.environ.get("TESTBED_CACHE", "/var/cache/testbed"))


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A path to write a file under, which then appears as ``path``, whole; if writing fails, nothing appears.

    Two processes that make the same file do not disturb each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
