"""Traces of links: files of delivery opportunities in Mahimahi's format.

Each line is a time in milliseconds at which the link carries one full frame. A time may occur on several lines. The
last time is the length of the trace, which repeats forever. (Netravali et al., Mahimahi, USENIX ATC 2015; mm-link(1).)
"""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

FRAME = 1514
"""Bytes of a full Ethernet frame, 1,500 of payload and 14 of header, as the kernel counts them."""


_MOST_DIGITS = 9  # of a time: eleven days


@dataclass(frozen=True)
class LinkTrace:
    """The trace in the file ``path``: its opportunities in milliseconds, ascending."""

    path: str
    opportunities: tuple[int, ...]

    @property
    def period(self) -> float:
        """Seconds after which the trace repeats."""
        return self.opportunities[-1] / 1e3

    @property
    def rate(self) -> float:
        """Mean bits per second."""
        return len(self.opportunities) * FRAME * 8 / self.period

    @property
    def longest_gap(self) -> float:
        """The most seconds between two opportunities, that from the last one to the first of the repetition included.

        All of a trace's beginning without opportunities counts, since its last line is its end.
        """
        return max(later - earlier for earlier, later in pairwise((0, *self.opportunities))) / 1e3

    def dilated(self, factor: float) -> "LinkTrace":
        """A copy with every time multiplied by ``factor`` and rounded to milliseconds."""
        return replace(self, opportunities=tuple(round(time * factor) for time in self.opportunities))


@cache
def read_trace(path: Path) -> LinkTrace:
    """The trace in a file; raises ValueError that names the wrong line."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{path} cannot be read as a trace: one time in milliseconds a line") from None
    times = [_time(path, number, line) for number, line in enumerate(lines, 1)]
    if not times or times[-1] == 0:
        raise ValueError(f"{path} has no length: its last line must be a time above zero, in milliseconds")
    for number, (before, after) in enumerate(pairwise(times), 2):
        if after < before:
            raise ValueError(f"{path}, line {number}: {after} ms comes after {before} ms; times must not fall")
    return LinkTrace(str(path), tuple(times))


def _time(path: Path, number: int, line: str) -> int:
    if not line.strip().isdecimal() or len(line.strip()) > _MOST_DIGITS:
        raise ValueError(f"{path}, line {number}: {line[:40]!r} is not a time in milliseconds, like 17")
    return int(line)
