"""The consoles of standard output and standard error."""

import os

from rich.console import Console


class _Terminal(Console):
    """A console that goes on when its reader ends, as `head` does."""

    def on_broken_pipe(self) -> None:
        """Discard all further output."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Terminal(highlight=False)
err = _Terminal(stderr=True, highlight=False)
