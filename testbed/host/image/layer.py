"""A layer of the node image, and the hash that names it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import docker

SOURCES: Final = Path(str(files("testbed"))).parent
"""The folder that holds the package: the checkout, or site-packages."""

RECIPES: Final = Path(str(files("testbed.host.image"))) / "recipes"
"""Dockerfiles and locks."""

Build = Callable[[docker.DockerClient, str, str], None]
"""Builds an image: called with the client, the tag to give it, and the image below, which is empty for a base."""


@dataclass(frozen=True)
class Layer:
    """An image of the stack: its repository, what progress calls its build, all that goes into it, and its build."""

    repository: str
    step: str
    parts: Sequence[str | bytes]
    build: Build

    def tag(self, below: str) -> str:
        """The tag of this layer on the image ``below``."""
        return f"{self.repository}:{digest([below, *self.parts] if below else self.parts)}"


def contents(paths: Sequence[str], root: Path) -> list[str | bytes]:
    """Names and contents of the files below ``paths``, for a digest."""
    return [part for file in found_files(paths, root) for part in (str(file), (root / file).read_bytes())]


def found_files(paths: Sequence[str], root: Path) -> list[Path]:
    """All files that ``paths`` name or contain, relative to ``root``, without compiled Python."""
    found = {file for path in map(root.joinpath, paths) for file in (path, *path.rglob("*")) if file.is_file()}
    return sorted(file.relative_to(root) for file in found if file.suffix != ".pyc")


def digest(parts: Sequence[str | bytes]) -> str:
    """Twelve hexadecimal digits; they depend on the parts and on the borders between the parts."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:12]
