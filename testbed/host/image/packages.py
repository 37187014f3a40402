"""The second layer: the node's Python packages, unpacked by the host's pip for the base's Python."""

import platform
import shutil
import sys
from pathlib import Path
from typing import Final

import docker

from testbed.core.cache import cache_folder
from testbed.host.image.building import ImageError, build, run_command, work_folder
from testbed.host.image.layer import RECIPES, Layer, contents

_LOCK: Final = "requirements.lock"
LLAMA_LOCK: Final = "llama-cpp-python.lock"
_DOCKERFILE: Final = "Dockerfile.packages"

_PYTHON_PROBE: Final = """
import os, sys
print("%d.%d" % sys.version_info[:2], os.confstr("CS_GNU_LIBC_VERSION").split(".")[-1])
"""


def packages_layer() -> Layer:
    """What the lock files name."""
    parts = [llama_recipe(), *contents([_DOCKERFILE, _LOCK, LLAMA_LOCK], RECIPES)]
    return Layer("testbed-packages", "adding the node's packages", parts, _build_packages)


def llama_recipe() -> str:
    """What `tb` built the wheel of llama-cpp-python from; empty if `tb` did not build it."""
    recipe = cache_folder() / "wheels" / "llama-cpp-python.recipe"
    return recipe.read_text() if recipe.exists() else ""


def _build_packages(client: docker.DockerClient, tag: str, below: str) -> None:
    fits = pip_options(client, below)
    wheels = cache_folder() / "wheels"
    llama = (RECIPES / LLAMA_LOCK).read_text().split()[0]
    with work_folder() as work:
        target = work / "packages"
        lock = ("--require-hashes", "-r", str(RECIPES / _LOCK))
        install = ("install", "--no-index", "--find-links", str(wheels), "--target", str(target), "--no-compile")
        try:
            run_pip(*install, *fits, *lock)
        except ImageError:  # the cache does not have all of them yet
            run_pip("download", "--dest", str(wheels), *fits, *lock)
            run_pip(*install, *fits, *lock)
        run_pip(*install, "--upgrade", *fits, llama)
        _slim(target)
        build(client, tag, below, work, _DOCKERFILE)


def pip_options(client: docker.DockerClient, base: str) -> list[str]:
    """Options with which pip takes wheels for the Python and the C library of the image ``base``."""
    probe = ["python3", "-c", _PYTHON_PROBE]
    answer: bytes = client.containers.run(base, probe, entrypoint="", network_mode="none", remove=True)
    python, libc = answer.decode().split()
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(int(libc), 16, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    options = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    return [*options, *(f"--platform={name}" for name in platforms)]


def run_pip(*arguments: str) -> None:
    """Run the host's pip; raises ImageError if it fails."""
    run_command(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def _slim(packages: Path) -> None:
    """Remove what no node needs: tests, type stubs, programs, and the second and third copies of llama.cpp."""
    for name in ("bin", "include", "lib"):
        shutil.rmtree(packages / name, ignore_errors=True)
    for folder in list(packages.rglob("tests")):
        shutil.rmtree(folder)
    for stub in packages.rglob("*.pyi"):
        stub.unlink()
    for library in (packages / "llama_cpp" / "lib").glob("*.so.*.*.*"):
        link_names(library)


def link_names(library: Path) -> None:
    """Replace libx.so and libx.so.0 by links to libx.so.0.1.2; a wheel cannot hold links, so it has three copies."""
    for name in (library.with_suffix("").with_suffix(""), library.with_suffix("").with_suffix("").with_suffix("")):
        name.unlink(missing_ok=True)
        name.symlink_to(library.name)
