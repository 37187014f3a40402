"""Files kept between runs. The folder can be deleted at any time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """The folder: ``$TESTBED_CACHE``, by default ``/var/cache/testbed``. `tb` keeps wheels and logs there as well."""
    return Path(os.environ.get("TESTBED_CACHE", "/var/cache/testbed"))


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to ``path`` at the end of the block and deleted if the block raises.

    So ``path`` is never incomplete, and two processes can write the same file at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
