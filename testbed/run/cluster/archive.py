"""Directories as bytes: a scenario with the files that it reads, which goes to a host, and a run, which comes back."""

import io
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from testbed.core.errors import SpecError


def pack(directory: Path) -> bytes:
    """A compressed archive of everything in a directory."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(directory.rglob("*")):
            archive.write(path, path.relative_to(directory))
    return packed.getvalue()


def unpack(packed: bytes, directory: Path) -> None:
    """Write the contents of an archive into a new directory; nothing can be written outside of it."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(directory)


def unpack_whole(packed: bytes, directory: Path) -> None:
    """Let ``directory`` appear with the contents of an archive, whole or not at all; raises SpecError."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as folder:
            arrived = Path(folder, directory.name)
            unpack(packed, arrived)
            arrived.rename(directory)
    except OSError as error:
        raise SpecError.of(
            "--out", f"{directory} cannot be written ({error.strerror}); name another directory"
        ) from None
