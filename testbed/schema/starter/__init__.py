"""A commented scenario and its topology, to start from."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from testbed.core.errors import SpecError

FILES: Final = ("scenario.yaml", "topology.yaml")


def write_starter(directory: Path) -> list[Path]:
    """Write both files into ``directory``, which is made if it is missing. Overwrites nothing; raises SpecError."""
    paths = [directory / name for name in FILES]
    for path in paths:
        if path.exists():
            raise SpecError.of(path, "is there already; name another directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_text((files(__name__) / path.name).read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise SpecError.of(directory, f"cannot be written ({error.strerror}); name another directory") from None
    return paths
