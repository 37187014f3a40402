"""What a board needs before its first run, and how it gets it: `testbed board prepare`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import PurePosixPath
from typing import Final

from testbed.core.errors import HostError
from testbed.world.hardware.control import Control, quoted
from testbed.world.hardware.entries import PYTHON

_CHECKS: Final = {
    "python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'": "Python 3.11: sudo apt-get install python3",
    "python3 -c 'import venv, ensurepip'": "Python's venv: sudo apt-get install python3-venv",
    "command -v ip": "the program ip: sudo apt-get install iproute2",
    '[ "$(id -u)" = 0 ] || sudo -n true': "sudo without a password: its user may run `ip address`",
}
"""Shell commands that succeed on a board that is ready, and what is missing where they fail."""

_COMPILER: Final = (
    "command -v c++ && command -v cmake",
    "a compiler: sudo apt-get install g++ cmake python3-dev",
)


@dataclass(frozen=True)
class Preparation:
    """The preparation of one board. ``report`` is called with every step, and with what was found."""

    control: Control
    report: Callable[[str], None]

    def prepare(self) -> None:
        """Install a node's packages on the board; raises HostError with everything that is missing there."""
        self.report("looking what the board has")
        if missing := [what for command, what in _CHECKS.items() if not self._succeeds(command)]:
            raise HostError(f"board {self.control.target} lacks {'; '.join(missing)}")
        if self._succeeds(_imports()):
            self.report("the board has a node's packages")
            return
        self.report("installing a node's packages (compiling llama.cpp takes long on a small board)")
        pip = quoted(PurePosixPath(PYTHON), "-m", "pip", "install", *packages())
        try:
            self.control.run(f'cd "$HOME" && python3 -m venv {PurePosixPath(PYTHON).parents[1]} && {pip}')
        except HostError as error:
            if not self._succeeds(_COMPILER[0]):
                raise HostError(f"board {self.control.target} lacks {_COMPILER[1]}") from error
            raise
        if not self._succeeds(_imports()):
            raise HostError(f"board {self.control.target} cannot import a node's packages after their installation")

    def _succeeds(self, command: str) -> bool:
        """Whether a command succeeds on the board; raises HostError if the board cannot be reached."""
        return self.control.run(f"({command}) >/dev/null 2>&1 && echo yes || true") == b"yes\n"


def packages() -> list[str]:
    """The packages of a node, as the testbed's own metadata requires them."""
    return [package for package in requires("testbed") or () if "extra ==" not in package]


def _imports() -> str:
    return f'cd "$HOME" && {PYTHON} -c "import aiohttp, llama_cpp, pydantic"'
