"""The view of a run while it goes on: a live table in a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
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

from testbed.analysis.board import NodeBoard
from testbed.core.units import DURATION, SIZE
from testbed.show.view import Pace, View

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_SECONDS: Final = 12  # of a queue's past
_AROUND: Final = 7  # lines of the screen that others need
_NARROW: Final = 39  # columns of the screen for a node, where they stand side by side
_FULL: Final = 0.9  # share of the cap beyond which memory is a matter of concern


@contextmanager
def watching(console: Console, scenario: str, pace: Pace | None = None) -> Iterator[View]:
    """A view of a run, and of the sweep that it is part of, until the block ends."""
    if not console.is_terminal:
        if pace is not None:
            console.print(_progress(pace), soft_wrap=True)
        yield PlainView(console, scenario)
        return
    view = LiveView(scenario, pace)
    with Live(console=console, get_renderable=view.render, refresh_per_second=8, transient=True):
        yield view


class PlainView:
    """A view that prints one line for each stage and step."""

    def __init__(self, console: Console, scenario: str) -> None:
        self._console = console
        self._scenario = scenario
        self._fetched: tuple[str, int] | None = None

    def stage(self, name: str) -> None:
        """Print the stage."""
        self._console.print(f"{self._scenario}: {name}", highlight=False)

    def step(self, what: str) -> None:
        """Print the step."""
        self._console.print(f"  {what}", highlight=False)

    def fetch(self, model: str, done: int, total: int | None) -> None:
        """Print a line at the beginning of a model, and at each tenth of it."""
        tenth = 10 * done // total if total else 0
        if self._fetched != (model, tenth):
            self._fetched = (model, tenth)
            self._console.print(f"  {_fetching(model, done, total)}", highlight=False)

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Print the numbers of prompts and nodes."""
        del faults
        slower = "" if dilation == 1 else f", {_slower(dilation)}"
        self._console.print(f"  {prompts} prompts for {len(boards)} nodes{slower}", highlight=False)


class LiveView:
    """A view of the stages so far, the nodes, the active faults, and the progress of the prompts."""

    def __init__(self, scenario: str, pace: Pace | None = None) -> None:
        self._scenario = scenario
        self._pace = pace
        self._stages: list[tuple[str, float]] = []
        self._nodes: NodesView | None = None
        self._faults: Mapping[str, str] = {}
        self._dilation = 1.0
        self._prompts = 0
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )
        self._waiting = self._progress.add_task("", total=None)

    def stage(self, name: str) -> None:
        """Show the stage and the time since its beginning."""
        self._stages.append((name, time.monotonic()))
        self._progress.reset(self._waiting, total=None, description=name)

    def step(self, what: str) -> None:
        self._progress.reset(self._waiting, total=None, description=what)

    def fetch(self, model: str, done: int, total: int | None) -> None:
        """Show a bar until another step begins."""
        self._progress.update(self._waiting, total=total, completed=done, description=_fetching(model, done, total))

    def play(self, boards: dict[str, NodeBoard], prompts: int, faults: Mapping[str, str], dilation: float) -> None:
        """Show the nodes from now on."""
        around = _AROUND if self._pace is None else _AROUND + 1
        self._nodes, self._faults, self._dilation = NodesView(boards, around), faults, dilation
        self._prompts = prompts
        self._progress.reset(self._waiting, total=prompts, description="prompts")

    def render(self) -> RenderableType:
        """The screen at this moment."""
        parts: list[RenderableType] = [self._headline()]
        if self._pace is not None:
            parts.insert(0, bar(self._pace))
        if self._nodes:
            self._nodes.look(time.monotonic())
            self._progress.update(self._waiting, completed=self._nodes.ended)
            parts += [self._nodes, Text(self._nodes.score(self._prompts), "bold")]
        if faults := dict(self._faults):  # this is another thread than that which changes them
            parts.append(Text("  ".join(f"{name} ({what})" for name, what in faults.items()), "yellow"))
        return Group(*parts, self._progress)

    def _headline(self) -> Text:
        line = Text.assemble((self._scenario, "bold"), "  ")
        for (name, begin), (_, end) in pairwise([*self._stages, ("now", time.monotonic())]):
            line.append(f"{name} {end - begin:.1f}s  ", "dim")
        if self._dilation != 1:
            line.append(_slower(self._dilation), "yellow")
        return line


def _fetching(model: str, done: int, total: int | None) -> str:
    of = "" if total is None else f" of {SIZE.readable(total)}"
    return f"fetching {model}: {SIZE.readable(done)}{of}"


def _slower(dilation: float) -> str:
    return f"time runs {dilation:g} times slower"


def bar(pace: Pace) -> RenderableType:
    """The progress of a campaign, as a line with a bar."""
    line = Table.grid(padding=(0, 1))
    line.add_row(_progress(pace), ProgressBar(total=pace.total, completed=pace.done, width=24))
    return line


def _progress(pace: Pace) -> str:
    return f"run {pace.done + 1} of {pace.total}, about {DURATION.readable(pace.seconds_left)} left"


class NodesView:
    """A line for each node, or several nodes side by side if there are more nodes than lines.

    A line shows the queue over the last seconds and now, the memory and its cap, the tokens written per second of
    inference, and the current job, or the node's state.
    """

    def __init__(self, boards: Mapping[str, NodeBoard], around: int = _AROUND) -> None:
        """``around`` is the number of lines that the rest of the screen needs."""
        self._boards = boards
        self._around = around
        self._queues: dict[str, deque[int]] = {name: deque([0] * _SECONDS, _SECONDS) for name in boards}
        self._second = 0

    @property
    def ended(self) -> int:
        """The number of prompts that have ended, answered or not."""
        return sum(board.answered + board.failed for board in self._boards.values())

    def score(self, prompts: int) -> str:
        """How many of all ``prompts`` have ended, how many of these failed, and the mean latency of the others."""
        boards = self._boards.values()
        answered, failed = sum(board.answered for board in boards), sum(board.failed for board in boards)
        latency = sum(board.latency for board in boards)
        said = [f"{answered + failed} of {prompts} prompts", *([f"{failed} failed"] if failed else [])]
        return ", ".join([*said, *([f"latency {DURATION.readable(latency / answered)}"] if answered else [])])

    def look(self, now: float) -> None:
        """Record the queues at ``now``, in seconds; the longest of each second is shown."""
        for name, board in self._boards.items():
            past = self._queues[name]
            if int(now) != self._second:
                past.append(0)
            past[-1] = max(past[-1], board.queue)
        self._second = int(now)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As many columns as the nodes need, and no more nodes than fit on the screen."""
        room = max(1, options.size.height - self._around)
        names = list(self._boards)
        if len(names) <= room:
            yield self._wide()
            return
        columns = max(1, options.max_width // _NARROW)
        shown = names[: room * columns]
        yield self._narrow(shown, min(columns, -(-len(shown) // room)))
        if len(names) > len(shown):
            yield Text(f"and {len(names) - len(shown)} more nodes", "dim")

    def _wide(self) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        table.add_column("node", max_width=12, no_wrap=True)
        table.add_column("queue")
        table.add_column("memory, MiB", no_wrap=True)
        table.add_column("tok/s", justify="right")
        table.add_column("done", justify="right")
        table.add_column("job", max_width=18, no_wrap=True)
        for name, board in self._boards.items():
            used = f" {board.memory / 2**20:.0f} of {board.memory_cap / 2**20:.0f}"
            table.add_row(
                Text(name, "bold"),
                self._queue(name, _SECONDS, 3),
                Text.assemble(_memory(board, 8), used),
                f"{board.decoding_rate:.0f}",
                f"{board.answered}" + (f" −{board.failed}" if board.failed else ""),
                _job(board),
            )
        return table

    def _narrow(self, names: Sequence[str], columns: int) -> Table:
        """The nodes in columns, one column after the other."""
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for _ in range(columns):
            table.add_column("node    queue     mem   tok/s job", width=_NARROW - 2, no_wrap=True)
        rows = -(-len(names) // columns)
        for row in range(rows):
            table.add_row(*(self._cell(name) for name in names[row::rows]))
        return table

    def _cell(self, name: str) -> Text:
        board = self._boards[name]
        called = Text(name, "bold")
        called.truncate(7, overflow="ellipsis", pad=True)
        rate = f" {board.decoding_rate:5.0f} "
        return Text.assemble(called, " ", self._queue(name, 6, 2), " ", _memory(board, 5), rate, _job(board))

    def _queue(self, name: str, seconds: int, digits: int) -> Text:
        """A sparkline of the queue, scaled to the longest queue of all nodes, and its length now."""
        past = list(self._queues[name])[-seconds:]
        longest = max(len(_SPARKS) - 1, *(max(queue) for queue in self._queues.values()))
        drawn = "".join(_SPARKS[-(-length * (len(_SPARKS) - 1) // longest)] for length in past)
        return Text.assemble((drawn, "yellow"), f" {self._boards[name].queue:>{digits}}")


def _memory(board: NodeBoard, width: int) -> Text:
    share = board.memory / board.memory_cap if board.memory_cap else 0.0
    full = min(width, round(share * width))
    return Text.assemble(("█" * full, "red" if share > _FULL else "magenta"), ("░" * (width - full), "dim"))


def _job(board: NodeBoard) -> Text:
    """The job that the node started last, or the node's state."""
    at_work = list(board.at_work)
    if board.state == "inferring" and at_work:
        return Text(at_work[-1].partition("@")[0], "green")
    return Text(board.state, {"idle": "dim"}.get(board.state, "red"))
