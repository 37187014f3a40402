"""Where the verbs print."""

import os

from rich.console import Console


class _Terminal(Console):
    """A console whose reader may leave: that is no failure of the run."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from here on."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


out = _Terminal(highlight=False)
err = _Terminal(stderr=True, highlight=False)
