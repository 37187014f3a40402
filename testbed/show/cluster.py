"""The view of a campaign on a cluster: the progress, and what each host plays."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from testbed.core.units import DURATION
from testbed.show.live import bar
from testbed.show.view import Pace


@dataclass
class ClusterView:
    """A line for each event; in a terminal, below them, a line for each host that plays."""

    console: Console
    _playing: dict[str, tuple[str, float]] = field(default_factory=dict)
    _pace: Pace = field(default_factory=lambda: Pace(0, 0, 0.0))

    @contextmanager
    def watching(self, pace: Pace) -> Iterator[None]:
        """Show the progress until the block ends."""
        self._pace = pace
        if not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, get_renderable=self._render, refresh_per_second=2, transient=True):
            yield

    def playing(self, host: str, name: str) -> None:
        """A host begins a run."""
        self._playing[host] = name, time.monotonic()
        if not self.console.is_terminal:
            self.tell(f"{host} plays {name}")

    def free(self, host: str) -> None:
        """A host has ended a run."""
        self._playing.pop(host, None)

    def ended(self, name: str, outcome: str) -> None:
        """The directory of a run has arrived, or the run could not be played."""
        pace = self._pace
        left = f", about {DURATION.readable(pace.seconds_left)} left" if pace.done < pace.total else ""
        self.tell(f"{name}: {outcome} ({pace.done} of {pace.total}{left})")

    def tell(self, sentence: str) -> None:
        """Something that the user should know."""
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        now = time.monotonic()
        hosts = [
            Text.assemble((host, "bold"), f"  {name}  ", (DURATION.readable(round(now - since)), "dim"))
            for host, (name, since) in sorted(self._playing.items())
        ]
        return Group(bar(self._pace), *hosts)
