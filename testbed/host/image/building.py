"""What the build of every layer uses: Docker's build, commands with a log, a work folder."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import docker
from docker.errors import BuildError

from testbed.core.cache import cache_folder
from testbed.core.errors import HostError
from testbed.host.image.layer import RECIPES

NODE_UID: Final = 1000
"""User and group of a node's agent."""

AGAIN: Final = "sudo ./tb image"


class ImageError(HostError):
    """The image cannot be made: the reason, and the command that mends it."""

    def __init__(self, why: str, mend: str = AGAIN) -> None:
        super().__init__(f"{why}\nto mend it: {mend}")


def build(client: docker.DockerClient, tag: str, below: str, context: Path, dockerfile: str) -> None:
    """Build the recipe ``dockerfile`` on the image ``below``; raises ImageError with the last lines of the build."""
    let_everyone_read(context)
    try:
        client.images.build(
            path=str(context),
            dockerfile=str(RECIPES / dockerfile),
            tag=tag,
            buildargs={"PARENT": below, "UID": str(NODE_UID)},
            network_mode="none",
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        log = "".join(str(line.get("stream", "")) for line in error.build_log)
        raise ImageError(f"{dockerfile} cannot be built: {error}\n{_tail(log)}") from error


def let_everyone_read(folder: Path) -> None:
    """Undo what a strict umask did: root owns the image's files, and the agent, another user, must read them."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))


def run_command(*command: str, mend: str = AGAIN) -> None:
    """Run a command with its output in a log; raises ImageError with the last lines if it fails."""
    name = Path(command[0]).name
    log = cache_folder() / "logs" / f"image-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as out:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT).returncode
    if status:
        raise ImageError(f"{name} failed:\n{_tail(log.read_text())}\nall of it: {log}", mend)


def output_of(*command: str) -> str:
    """Standard output of a command; raises CalledProcessError if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def work_folder() -> Iterator[Path]:
    """A temporary folder in the cache: /tmp may be a small tmpfs."""
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="image-") as name:
        yield Path(name)


def _tail(log: str) -> str:
    return "\n".join(f"  {line}" for line in log.strip().splitlines()[-5:])
