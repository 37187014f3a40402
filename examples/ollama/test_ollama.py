import json
from pathlib import Path

import pytest
from testbed_ollama import MODEL_LAYER, OLLAMA

from testbed.schema.network.model_source import ModelError


def test_the_file_of_a_pulled_model_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "tiny" / "latest"
    manifest.parent.mkdir(parents=True)
    layers = [{"mediaType": "text/plain", "digest": "sha256:1"}, {"mediaType": MODEL_LAYER, "digest": "sha256:2"}]
    manifest.write_text(json.dumps({"layers": layers}), encoding="utf-8")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    assert OLLAMA.find("tiny") == OLLAMA.find("tiny:latest") == tmp_path / "blobs" / "sha256-2"


def test_a_model_that_was_not_pulled_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="run `ollama pull tiny:1b`"):
        OLLAMA.find("tiny:1b")
