"""The built-in models: `zoo/alpha`, `zoo/beta`, `zoo/gamma` and `zoo/delta`.

Four Llama models of about two million parameters that the project trained on questions about a made-up world
(`testbed.workload.prompts.worldfacts`), each strong in one of its four domains. The rest of this package makes
them; this module alone says where they are, and needs nothing but the standard library.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from testbed.workload.prompts.worldfacts import DOMAINS

NAMES = ("alpha", "beta", "gamma", "delta")
DOMAIN_OF = dict(zip(NAMES, DOMAINS, strict=True))
"""What each model is strong in."""

DIRECTORY = Path(__file__).parent
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """What a model's file must be, and how it came about."""

    domain: str
    bytes: int
    sha256: str
    parameters: int
    training: dict[str, str | int]


def path(name: str, directory: Path = DIRECTORY) -> Path:
    """Where the GGUF file of a model is."""
    return directory / f"{name}.gguf"


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def manifest(directory: Path = DIRECTORY) -> dict[str, ManifestEntry]:
    """The manifest of a zoo by model name; without an argument, of the one that is shipped."""
    entries = json.loads((directory / MANIFEST).read_text())
    return {name: ManifestEntry(**entry) for name, entry in entries.items()}


def mismatches(directory: Path = DIRECTORY) -> list[str]:
    """The models whose file is missing or is not what the manifest says."""
    entries = manifest(directory)
    files = {name: path(name, directory) for name in NAMES}
    return [name for name, file in files.items() if not file.exists() or sha256(file) != entries[name].sha256]
