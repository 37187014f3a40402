"""GGUF files of the user's."""

from pathlib import Path

from testbed.schema.network.model_source import ModelSource


class PathSource(ModelSource):
    """A GGUF file on this host; its path counts from the directory of the file that names it."""

    form = "path:FILE.gguf"

    def anchored(self, name: str, directory: Path) -> str:
        """The absolute path; ``~`` is the home directory."""
        return str((directory / Path(name).expanduser()).absolute())

    def locate(self, name: str) -> Path:
        """The path itself."""
        return Path(name)


PATH = PathSource()
