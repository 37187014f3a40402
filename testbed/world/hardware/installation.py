"""What a run puts on a board: the node's code, the files of its model, and a directory of its own.

Code and models stay on the board under names that their content gives, and are sent once. The packages that the code
needs are not sent: `testbed board prepare` installs them.
"""

import hashlib
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from testbed.core.errors import HostError
from testbed.host.image.code import NODE_CODE
from testbed.host.image.layer import SOURCES, contents, digest, found_files
from testbed.node import config as places
from testbed.node.config import NodeConfig
from testbed.world.hardware import timeserver
from testbed.world.hardware.control import Control, quoted

_BASE: Final = ".cache/testbed"  # below the user's home

_LOOK: Final = """
set -e; umask 077
cd "$HOME"; mkdir -p {base}/code {base}/models {directory}/without
echo "$HOME"; id -u; nproc
ip -o -4 address show to {address} | awk '{{print $2}}'
ls {base}/code {base}/models
"""


@dataclass(frozen=True)
class Installation:
    """A run's part of a board. ``home`` is the user's, ``sudo`` what precedes the commands of root, and ``interface``
    the board's own that has its control address."""

    control: Control
    directory: PurePosixPath
    home: PurePosixPath
    sudo: str
    cores: int
    interface: str
    present: frozenset[str]

    @classmethod
    def begin(cls, control: Control, name: str) -> "Installation":
        """Make a directory for the run's node ``name``, and look what the board has; raises HostError."""
        directory = PurePosixPath("/tmp") / name
        command = _LOOK.format(base=_BASE, directory=directory, address=control.address)
        home, uid, cores, interface, *present = control.run(command).decode().split("\n")
        sudo = "" if uid == "0" else "sudo -n "
        return cls(control, directory, PurePosixPath(home), sudo, int(cores), interface, frozenset(present))

    @cached_property
    def code(self) -> PurePosixPath:
        """Where the node's code lies."""
        return self.home / _BASE / "code" / digest(contents(NODE_CODE, SOURCES))

    def send(self, config: NodeConfig, files: Mapping[Path, Path]) -> PurePosixPath:
        """Send what the board does not have; returns where its model lies. Raises HostError."""
        _check(config, files)
        if self.code.name not in self.present:
            self._send_code()
        for inside, path in files.items():
            self._send_model(inside, path)
        for name, content in ((places.CONFIG, config.model_dump_json()), ("timeserver.py", _source(timeserver))):
            self.write(name, content)
        return self.directory / min(inside.name for inside in files if inside.stem.startswith(places.MODEL.stem))

    def write(self, name: str, content: str) -> None:
        """Write a file in the run's directory, at once and as a whole; raises HostError."""
        path = self.directory / name
        with tempfile.TemporaryFile() as given:
            given.write(content.encode())
            given.seek(0)
            self.control.run(f"cat > {path}.new && mv {path}.new {path}", given)

    def _send_code(self) -> None:
        new = self.code.with_suffix(".new")
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w:gz") as tar:
                for file in found_files(NODE_CODE, SOURCES):
                    tar.add(SOURCES / file, str(file))
            archive.seek(0)
            self.control.run(f"mkdir -p {new} && tar -xz -C {new} && mv -T {new} {self.code}", archive)

    def _send_model(self, inside: Path, path: Path) -> None:
        with path.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
        stored = self.home / _BASE / "models" / name
        if name not in self.present:
            with path.open("rb") as file:
                self.control.run(f"cat > {stored}.new && mv {stored}.new {stored}", file)
        self.control.run(quoted("ln", "-sfn", stored, self.directory / inside.relative_to("/")))


def _check(config: NodeConfig, files: Mapping[Path, Path]) -> None:
    """Raise HostError for what only containers have."""
    if foreign := [kind for kind, of in config.pattern_classes.items() if not of.startswith("testbed.")]:
        raise HostError(f"node {config.name!r}: boards run the testbed's own patterns, and no {foreign[0]!r}")
    if any(inside.is_relative_to(places.INPUTS) for inside in files):
        raise HostError(f"node {config.name!r}: its pattern reads files, and boards get none")


def _source(module: object) -> str:
    return Path(str(getattr(module, "__file__", ""))).read_text(encoding="utf-8")
