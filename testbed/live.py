"""What a run looks like while it goes on: a live table in a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from testbed.results.board import NodeBoard
from testbed.runner import View


@contextmanager
def watching(console: Console, scenario: str) -> Iterator[View]:
    """A view of a run for as long as it lasts."""
    if not console.is_terminal:
        yield PlainView(console, scenario)
        return
    view = LiveView(scenario)
    with Live(console=console, get_renderable=view.render, refresh_per_second=8, transient=True):
        yield view


class PlainView:
    """One line for each stage and step."""

    def __init__(self, console: Console, scenario: str) -> None:
        self._console = console
        self._scenario = scenario

    def stage(self, name: str) -> None:
        """Print it."""
        self._console.print(f"{self._scenario}: {name}", highlight=False)

    def step(self, what: str) -> None:
        """Print it."""
        self._console.print(f"  {what}", highlight=False)

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Say how much there is to do."""
        del faults
        slower = "" if dilation == 1 else f", {_slower(dilation)}"
        self._console.print(f"  {prompts} prompts for {len(boards)} nodes{slower}", highlight=False)


class LiveView:
    """The stages so far, a row for each node, the faults that are active, and how far the prompts have come."""

    def __init__(self, scenario: str) -> None:
        self._scenario = scenario
        self._stages: list[tuple[str, float]] = []
        self._boards: dict[str, NodeBoard] = {}
        self._faults: Mapping[str, str] = {}
        self._dilation = 1.0
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )
        self._waiting = self._progress.add_task("", total=None)

    def stage(self, name: str) -> None:
        """Put it on the screen."""
        self._stages.append((name, time.monotonic()))
        self._progress.reset(self._waiting, total=None, description=name)

    def step(self, what: str) -> None:
        """Put it on the screen."""
        self._progress.reset(self._waiting, total=None, description=what)

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Show the nodes from now on."""
        self._boards, self._faults, self._dilation = boards, faults, dilation
        self._progress.reset(self._waiting, total=prompts, description="prompts")

    def render(self) -> RenderableType:
        """The screen as of now."""
        if self._boards:
            done = sum(board.answered + board.failed for board in self._boards.values())
            self._progress.update(self._waiting, completed=done)
        parts: list[RenderableType] = [self._headline()]
        if self._boards:
            parts.append(_table(self._boards))
        if self._faults:
            parts.append(Text("  ".join(f"{name} ({what})" for name, what in self._faults.items()), "yellow"))
        return Group(*parts, self._progress)

    def _headline(self) -> Text:
        line = Text.assemble((self._scenario, "bold"), "  ")
        for (name, begin), (_, end) in pairwise([*self._stages, ("now", time.monotonic())]):
            line.append(f"{name} {end - begin:.1f}s  ", "dim")
        if self._dilation != 1:
            line.append(_slower(self._dilation), "yellow")
        return line


def _slower(dilation: float) -> str:
    return f"time runs {dilation:g} times slower"


def _table(boards: dict[str, NodeBoard]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("node")
    table.add_column("state", min_width=9)
    for heading in ("queue", "memory", "", "tokens/s", "answered"):
        table.add_column(heading, justify="right")
    for name, board in boards.items():
        table.add_row(
            Text(name, "bold"),
            Text(board.state, {"idle": "dim", "inferring": "green"}.get(board.state, "red")),
            str(board.queue),
            f"{board.memory / 2**20:.0f}/{board.memory_cap / 2**20:.0f} MiB",
            ProgressBar(total=board.memory_cap, completed=board.memory, width=12),
            f"{board.decoding_rate:.0f}",
            f"{board.answered}" + (f" −{board.failed}" if board.failed else ""),
        )
    return table
