"""Whether files that a user names are there. A name that the system refuses, such as one too long, is not."""

from contextlib import suppress
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file. Unlike :meth:`Path.is_file`, it never raises."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def is_directory(path: Path) -> bool:
    """Whether ``path`` is a directory. Unlike :meth:`Path.is_dir`, it never raises."""
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False
