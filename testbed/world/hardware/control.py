"""Control of a board: commands and a tunnel over ssh, from the namespace that has the cable.

OpenSSH's own client does it, with the user's keys and known hosts. It asks nothing, and takes no host key that it does
not know.
"""

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from testbed.core.errors import HostError
from testbed.host.namespace import Namespace

_OPTIONS: Final = {
    "BatchMode": "yes",
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "ExitOnForwardFailure": "yes",
    "LogLevel": "ERROR",
}
_FAILED: Final = 255  # ssh's own exit status

_MENDS: Final = {
    "Host key verification failed": "accept its key once: sudo ssh {target}",
    "Permission denied": "let the user root of this host in: sudo ssh-copy-id {target}",
}


@dataclass(frozen=True)
class Control:
    """A board as ssh reaches it: ``target`` is USER@ADDRESS. Without a namespace, from this thread's."""

    target: str
    config: Path | None = None
    namespace: Namespace | None = None

    @property
    def address(self) -> str:
        """The board's control address."""
        return self.target.rpartition("@")[2]

    def run(self, command: str, given: BinaryIO | None = None) -> bytes:
        """What a shell command on the board prints, with ``given`` as its input; raises HostError if it fails."""
        stdin = subprocess.DEVNULL if given is None else given
        process = self.begin(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, complaint = process.communicate()
        if process.returncode:
            raise self._failure(process.returncode, complaint.decode(errors="replace").strip())
        return output

    def begin(
        self,
        command: str,
        options: Sequence[str] = (),
        stdin: int | BinaryIO = subprocess.DEVNULL,
        stdout: int | BinaryIO = subprocess.DEVNULL,
        stderr: int | BinaryIO = subprocess.DEVNULL,
    ) -> "subprocess.Popen[bytes]":
        """Begin a shell command on the board. The process is ssh's, in a session of its own; it outlives the runner."""
        words = ["ssh", *(("-F", str(self.config)) if self.config else ())]
        words += [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
        words += [*options, self.target, command]
        try:
            if self.namespace is None:
                return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)
            with self.namespace.entered():
                return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)
        except FileNotFoundError:
            raise HostError("ssh is missing; to mend it: sudo apt-get install openssh-client") from None

    def _failure(self, status: int, complaint: str) -> HostError:
        last = complaint.rpartition("\n")[2] or f"exit status {status}"
        mend = next((mend for sign, mend in _MENDS.items() if sign in complaint), None)
        if status != _FAILED:
            return HostError(f"board {self.target}: {last}")
        more = f"; {mend.format(target=self.target)}" if mend else ""
        return HostError(f"board {self.target} cannot be reached by ssh ({last}){more}")


def quoted(*words: object) -> str:
    """Words of a command as a shell reads them."""
    return shlex.join(map(str, words))
