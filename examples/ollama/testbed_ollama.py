"""Models that Ollama has downloaded to this host."""

import json
import os
from pathlib import Path

from testbed.schema.network.model_source import ModelError, ModelSource

MODEL_LAYER = "application/vnd.ollama.image.model"


class Ollama(ModelSource):
    """A model that `ollama pull` has fetched; its GGUF file is used where it lies."""

    form = "ollama:NAME:TAG"

    def find(self, name: str) -> Path:
        """The blob that the model's manifest names; raises ModelError if it is not on this host."""
        model, _, tag = name.partition(":")
        store = Path(os.environ.get("OLLAMA_MODELS", Path.home() / ".ollama" / "models"))
        manifest = store / "manifests" / "registry.ollama.ai" / "library" / model / (tag or "latest")
        try:
            layers = json.loads(manifest.read_text(encoding="utf-8"))["layers"]
        except FileNotFoundError:
            raise ModelError(f"ollama:{name}: there is no {manifest}; run `ollama pull {name}`") from None
        (digest,) = (str(layer["digest"]) for layer in layers if layer["mediaType"] == MODEL_LAYER)
        return store / "blobs" / digest.replace(":", "-")


OLLAMA = Ollama()
