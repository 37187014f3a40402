"""Models of the Hugging Face hub."""

from pathlib import Path

from testbed.schema.network.model_source import ModelError, ModelSource


class Hub(ModelSource):
    """A GGUF file of a Hugging Face repository, downloaded once into the hub's own cache."""

    form = "hf:OWNER/REPO/FILE.gguf"
    local = False

    def check(self, name: str) -> None:
        """Raises ModelError unless ``name`` reads ``OWNER/REPO/FILE.gguf``."""
        _repository_and_file(name)

    def locate(self, name: str) -> Path:
        """The file in the hub's cache, downloaded if it is missing; raises ModelError."""
        from huggingface_hub import hf_hub_download, logging  # slow to import
        from huggingface_hub.errors import HfHubHTTPError

        repository, file = _repository_and_file(name)
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        try:
            return Path(hf_hub_download(repository, file))
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise ModelError(f"hf:{name} cannot be fetched: {str(error).splitlines()[0]}") from error


def _repository_and_file(name: str) -> tuple[str, str]:
    """Both parts of ``OWNER/REPO/FILE.gguf``, where the file may lie in folders; raises ModelError."""
    parts = name.split("/")
    if len(parts) < 3 or not all(parts):
        raise ModelError(f"hf:{name} must read hf:OWNER/REPO/FILE.gguf")
    return "/".join(parts[:2]), "/".join(parts[2:])


HUB = Hub()
