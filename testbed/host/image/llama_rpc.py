"""An image of llama.cpp's own distribution of a model over nodes: ``llama-server`` and ``ggml-rpc-server``.

They are built once, from the source release that the node image's llama-cpp-python is made of, and kept in the cache.
"""

import os
import platform
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import docker

from testbed.core.cache import appearing, cache_folder
from testbed.host.image.base import base_layer
from testbed.host.image.building import ImageError, build, run_command, work_folder
from testbed.host.image.layer import RECIPES, Layer, contents, digest
from testbed.host.image.packages import LLAMA_LOCK, llama_recipe
from testbed.host.image.stack import ensure_stack

REPOSITORY: Final = "testbed-llama-rpc"
PROGRAMS: Final = ("ggml-rpc-server", "llama-server")

_DOCKERFILE: Final = "Dockerfile.llama-rpc"
_OPTIONS: Final = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_RPC=ON",
    "-DGGML_OPENMP=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",  # it would be fetched during the build
    "-DLLAMA_OPENSSL=OFF",
)
_NO_TILES: Final = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
"""As in `tb`: llama.cpp configures AMX tiles in one thread and uses them in others, which ends the process."""

_MEND: Final = "sudo apt-get install cmake g++ make"


def llama_rpc_image() -> str:
    """The image's name, tagged with the release of llama-cpp-python."""
    return f"{REPOSITORY}:{_lock().split()[0].partition('==')[2]}"


def made_here(image: str) -> str | None:
    """The command that makes ``image``, if it is one of the testbed's own for programs."""
    return "sudo ./tb image llama-rpc" if image == llama_rpc_image() else None


def ensure_llama_rpc(client: docker.DockerClient, report: Callable[[str], None]) -> str:
    """Build the image if it is missing, and return its name; raises ImageError."""
    layer = Layer(
        REPOSITORY,
        "building llama.cpp's RPC backend (about ten minutes the first time)",
        [_key(), *_recipe()],
        _build_image,
    )
    tag = ensure_stack(client, report, [base_layer(), layer], below="")
    client.images.get(tag).tag(*llama_rpc_image().split(":"))
    return llama_rpc_image()


def _lock() -> str:
    return (RECIPES / LLAMA_LOCK).read_text()


def _recipe() -> list[str | bytes]:
    return contents([_DOCKERFILE], RECIPES)


def _key() -> str:
    return digest([_lock(), llama_recipe(), platform.machine(), *_OPTIONS])


def _build_image(client: docker.DockerClient, tag: str, below: str) -> None:
    programs = _programs()
    with work_folder() as work:
        for name in PROGRAMS:
            shutil.copy(programs / name, work / name)
        build(client, tag, below, work, _DOCKERFILE)


def _programs() -> Path:
    """The folder with the two programs, compiled if it is missing, in about ten minutes."""
    folder = cache_folder() / "llama-rpc" / _key()
    if not folder.exists():
        with appearing(folder) as unfinished, work_folder() as work:
            _compile(work)
            unfinished.mkdir()
            for name in PROGRAMS:
                shutil.copy(work / "build" / "bin" / name, unfinished / name)
    return folder


def _compile(work: Path) -> None:
    if missing := [program for program in ("cmake", "g++") if shutil.which(program) is None]:
        raise ImageError(f"llama.cpp's programs are compiled, and {missing[0]} is not installed", _MEND)
    download = ("download", "--no-deps", "--no-binary=llama-cpp-python", "--require-hashes", f"--dest={work}")
    run_command(sys.executable, "-m", "pip", *download, "--requirement", str(RECIPES / LLAMA_LOCK))
    (archive,) = work.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(work)  # its hash is known; filters came with Python 3.11.4
    (code,) = work.glob("*/vendor/llama.cpp")
    flags = _NO_TILES if platform.machine() == "x86_64" else ""
    configure = [f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}", *_OPTIONS]
    run_command("cmake", "-S", str(code), "-B", str(work / "build"), *configure, mend=_MEND)
    targets = ("--target", *PROGRAMS)
    run_command("cmake", "--build", str(work / "build"), f"--parallel={os.cpu_count()}", *targets, mend=_MEND)
