"""GGUF files on this host."""

from pathlib import Path

from testbed.core.input_files import anchored
from testbed.schema.network.model_source import ModelSource


class PathSource(ModelSource):
    """A GGUF file on this host. Its path is relative to the directory of the file that names it."""

    form = "path:FILE.gguf"

    def anchored(self, name: str, directory: Path) -> str:
        """The absolute path; ``~`` is the home directory."""
        return str(anchored(name, {"": directory}))

    def find(self, name: str) -> Path:
        """The path ``name``."""
        return Path(name)


PATH = PathSource()
