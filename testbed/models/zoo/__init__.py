"""The built-in models: `zoo/alpha`, `zoo/beta`, `zoo/gamma`, `zoo/delta` and `zoo/omega`.

Llama models that were trained on questions about an invented world (`testbed.workload.prompts.worldfacts`). Four
specialists of about two million parameters are each strong in one of its four domains; a generalist of three times
their size, omega, is strong in all. Their files lie in this package.
`testbed.models.zoo.training` makes them.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from testbed.workload.prompts.worldfacts import DOMAINS

SPECIALISTS = ("alpha", "beta", "gamma", "delta")
GENERALIST = "omega"
NAMES = (*SPECIALISTS, GENERALIST)
DOMAIN_OF = dict(zip(SPECIALISTS, DOMAINS, strict=True))
"""The domain in which each specialist is strong."""
DOMAINS_OF = {**{name: (domain,) for name, domain in DOMAIN_OF.items()}, GENERALIST: DOMAINS}
"""The domains in which each model is strong."""

DIRECTORY = Path(__file__).parent
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """The domains, file and training of a model. ``bytes`` and ``sha256`` identify the file."""

    domains: list[str]
    bytes: int
    sha256: str
    parameters: int
    training: dict[str, str | int]


def path(name: str, directory: Path = DIRECTORY) -> Path:
    """The GGUF file of a model in ``directory``."""
    return directory / f"{name}.gguf"


def sha256(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def manifest(directory: Path = DIRECTORY) -> dict[str, ManifestEntry]:
    """The entries of the manifest in ``directory``, by default of the shipped zoo, by model."""
    entries = json.loads((directory / MANIFEST).read_text())
    return {name: ManifestEntry(**entry) for name, entry in entries.items()}


def mismatches(directory: Path = DIRECTORY) -> list[str]:
    """The models whose file is missing or differs from the manifest."""
    entries = manifest(directory)
    files = {name: path(name, directory) for name in NAMES}
    return [name for name, file in files.items() if not file.exists() or sha256(file) != entries[name].sha256]
