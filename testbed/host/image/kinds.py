"""A layer for a run that uses other people's patterns: their code, and what it needs.

The files come from where the host imports them, so a node runs the version that the manifest names.
"""

import importlib.util
import re
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import docker
from packaging.requirements import Requirement

from testbed.core.errors import HostError
from testbed.core.registry import FileOrigin, Origin, PackageOrigin, file_hash, is_built_in
from testbed.host.image.building import build, work_folder
from testbed.host.image.code import NODE
from testbed.host.image.layer import RECIPES, Layer, contents
from testbed.host.image.packages import pip_options, run_pip

INSIDE: Final = Path("/opt/testbed/kinds")
"""Where one-file kinds lie in a node."""

_DOCKERFILE: Final = "Dockerfile.kinds"
_PROVIDED: Final = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_LOCKS: Final = ("requirements.lock", "llama-cpp-python.lock")


def reference_inside(origin: Origin) -> str:
    """The reference by which a node's Python finds a kind."""
    match origin:
        case PackageOrigin():
            return origin.reference
        case FileOrigin(path, _, name):
            return f"{INSIDE / path.name}:{name}"


def packages_of(origin: Origin) -> dict[str, str]:
    """The version of the package that a node must have for a kind; empty for built-in kinds and files."""
    if isinstance(origin, FileOrigin) or is_built_in(origin):
        return {}
    return {origin.package: origin.version}


def kinds_layer(origins: Sequence[Origin]) -> Layer:
    """The code of ``origins``; raises HostError for a package that cannot be found whole."""
    files = sorted(origin.path for origin in origins if isinstance(origin, FileOrigin))
    packages = {origin.package: origin for origin in origins if isinstance(origin, PackageOrigin)}
    needed = _with_requirements(packages)

    def build_kinds(client: docker.DockerClient, tag: str, below: str) -> None:
        with work_folder() as work:
            kinds, target = work / "kinds", work / "packages"
            kinds.mkdir()
            target.mkdir()
            for file in files:
                shutil.copy(file, kinds / file.name)
            for name, found in needed.items():
                _copy(found, packages.get(name), target, client, below)
            build(client, tag, below, work, _DOCKERFILE)

    parts: list[str | bytes] = [*contents([_DOCKERFILE], RECIPES)]
    parts += [part for file in files for part in (file.name, file_hash(file))]
    parts += [part for name, found in needed.items() for part in _identity(found, packages.get(name))]
    return Layer(NODE, "adding the kinds of other packages", parts, build_kinds)


def _with_requirements(packages: dict[str, PackageOrigin]) -> dict[str, Distribution]:
    """The distributions of ``packages`` and those that they need, without what every node has; by name."""
    provided = {"testbed", *(_canonical(name) for lock in _LOCKS for name in _PROVIDED.findall(_lock(lock)))}
    found: dict[str, Distribution] = {}
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        if name in found or _canonical(name) in provided:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            raise HostError(f"the package {name} is not installed; to mend it: pip install {name}") from None
        waiting += _requirements(found[name])
    return dict(sorted(found.items()))


def _requirements(found: Distribution) -> Iterator[str]:
    for written in found.requires or ():
        requirement = Requirement(written)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _identity(found: Distribution, origin: PackageOrigin | None) -> list[str | bytes]:
    """What tells one state of a distribution from another; code that a user is editing has one version for many."""
    folder = None if origin is None else _imported_from(origin)
    return [found.name, found.version, *([] if folder is None else contents([folder.name], folder.parent))]


def _copy(
    found: Distribution, origin: PackageOrigin | None, target: Path, client: docker.DockerClient, below: str
) -> None:
    """Put a distribution where the node's Python looks for packages."""
    if origin is not None:
        source = _imported_from(origin)
        if source.is_dir():
            shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
        metadata = target / f"{found.name.replace('-', '_')}-{found.version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(found.read_text("METADATA") or "")
    else:
        options = pip_options(client, below)
        run_pip("install", "--no-compile", "--target", str(target), *options, f"{found.name}=={found.version}")


def _imported_from(origin: PackageOrigin) -> Path:
    """The folder of the package that a kind's module is in, or its file; raises HostError."""
    top = origin.reference.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise HostError(f"{origin}: there is no module {top} to take into the nodes; install the package again")
    path = Path(spec.origin)
    return path.parent if spec.submodule_search_locations else path


def _lock(name: str) -> str:
    return (RECIPES / name).read_text()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
