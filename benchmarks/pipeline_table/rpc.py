"""llama.cpp's RPC backend, its own distribution of a model over nodes, on the same nodes, caps and links.

A server on each node offers its CPU. The client on the first node sends the weights over the links and then, for every
token, the hidden rows to each server and back. The release is the testbed's, built with `-DGGML_RPC=ON` into a separate
folder that the nodes see read-only. Each node also runs an idle agent.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rundirs import PROJECT

from pipeline_table.standing import MODEL, NAMES, Setup, Standing, standing
from testbed.core.cache import appearing, cache_folder
from testbed.core.errors import HostError
from testbed.world.network.routes import addresses

NODES: Final = 4
DELAY: Final = 0.01
SAMPLES: Final = (1, 8, 16)

_LOCK: Final = PROJECT / "images" / "node" / "llama-cpp-python.lock"
_INSIDE: Final = Path("/rpc")
_PORT: Final = 50052
_TOKENS: Final = 32  # of each sample
_LAYERS: Final = 16
_ENVIRONMENT: Final = {"PYTHONPATH": f"{_INSIDE / 'packages'}:/opt/testbed/packages"}  # before the image's own
_LOOK: Final = 0.1  # seconds between two looks at whether a server listens


@dataclass(frozen=True)
class Settings:
    """The nodes that serve and the layers that they hold in total, with the output matrix counted as a layer."""

    name: str
    servers: tuple[str, ...]
    layers: int


CHOICES: Final = (
    Settings("4 layers in the client, the others on 3 servers", NAMES[1:], 13),
    Settings("all layers on 4 servers, one beside the client", NAMES, _LAYERS + 1),
)
"""Both are measured; for each number of samples the better one counts."""


@dataclass(frozen=True)
class RpcResult:
    """Tokens/s, the links' bytes for each, and the seconds until the model was loaded and the context made."""

    settings: str
    samples: int
    rate: float
    bytes_per_token: float
    ready: float


def measure(quick: bool) -> Iterator[RpcResult]:
    """The results, with a world for each settings, where the model is loaded once for all numbers of samples."""
    packages = _packages()
    files = {
        _INSIDE / "packages": packages,
        _INSIDE / "process.py": Path(__file__).with_name("rpc_process.py"),
        _INSIDE / "model.gguf": MODEL.drawn(),
    }
    for settings in CHOICES[: 1 if quick else None]:
        idle = Setup(NODES, {"kind": "gossip-moa", "layers": 0, "proposers": 0}, DELAY, model="zoo/alpha")
        with standing(idle, files) as world:
            yield from _played(world, settings)


def _played(world: Standing, settings: Settings) -> Iterator[RpcResult]:
    address = addresses(world.plan.scenario.topology)
    for name in settings.servers:
        _serve(world, name)
    servers = ",".join(f"{address[name]}:{_PORT}" for name in settings.servers)
    ready, before = 0.0, 0
    for said in _decode(world, settings.layers, servers):
        match said:
            case {"ready": seconds}:
                ready = seconds
            case {"begin": _}:
                before = world.carried
            case {"samples": samples, "tokens": tokens, "seconds": seconds}:
                carried = (world.carried - before) / tokens
                yield RpcResult(settings.name, int(samples), tokens / seconds, carried, ready)


def _serve(world: Standing, node: str) -> None:
    """Start a node's server, and return when it listens."""
    api = world.plan.docker.api
    command = _command("serve", str(_PORT))
    server = api.exec_create(world.container(node).id, command, environment=_ENVIRONMENT)["Id"]
    api.exec_start(server, detach=True)
    while not _listens(world, node):
        if not (state := api.exec_inspect(server))["Running"]:
            raise HostError(f"llama.cpp's RPC server in node {node!r} ended with code {state['ExitCode']}")
        time.sleep(_LOOK)


def _listens(world: Standing, node: str) -> bool:
    """Whether a process listens at the port (proc(5), /proc/PID/net/tcp; 0A is TCP_LISTEN)."""
    with world.world.nodes[node].namespace.entered():
        lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    sockets = [line.split() for line in lines]
    return any(fields[1].endswith(f":{_PORT:04X}") and fields[3] == "0A" for fields in sockets)


def _decode(world: Standing, layers: int, servers: str) -> Iterator[dict[str, float]]:
    """Run the client in the first node and yield its reports; raises HostError if it fails."""
    samples = ",".join(map(str, SAMPLES))
    command = _command("decode", str(_INSIDE / "model.gguf"), str(layers), servers, samples, str(_TOKENS))
    api = world.plan.docker.api
    started = api.exec_create(world.container(NAMES[0]).id, command, environment=_ENVIRONMENT)
    unread, noise = b"", b""
    for output, errors in api.exec_start(started["Id"], stream=True, demux=True):
        noise += errors or b""
        *lines, unread = (unread + (output or b"")).split(b"\n")
        yield from map(json.loads, lines)
    if code := api.exec_inspect(started["Id"])["ExitCode"]:
        raise HostError(f"llama.cpp's RPC client ended with code {code}: {noise.decode(errors='replace')[-500:]}")


def _command(*arguments: str) -> list[str]:
    return ["python3", str(_INSIDE / "process.py"), *arguments]


def _packages() -> Path:
    """The folder with llama-cpp-python and its RPC backend, built if it is missing, in about ten minutes."""
    folder = cache_folder() / "rpc" / _LOCK.read_text().split()[0]
    if not folder.exists():
        with appearing(folder) as unfinished, tempfile.TemporaryDirectory(dir=folder.parent) as build:
            _build(Path(build))
            (wheel,) = Path(build).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unfinished)
    return folder


def _build(folder: Path) -> None:
    print("building llama-cpp-python with llama.cpp's RPC backend, once (about ten minutes)", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir"]
    command += ["--no-binary", "llama-cpp-python", "--require-hashes"]
    settings = {"CMAKE_ARGS": "-DLLAVA_BUILD=OFF -DGGML_RPC=ON", "TMPDIR": str(folder)}
    log = folder.parent / "build.log"
    with log.open("w") as output:
        built = subprocess.run(
            [*command, "--requirement", str(_LOCK), "--wheel-dir", str(folder)],
            env=os.environ | settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if built.returncode:
        raise HostError(f"llama-cpp-python cannot be built with its RPC backend; all of it: {log}")
