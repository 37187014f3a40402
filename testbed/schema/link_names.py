"""The names of links: their two ends as written, and a number where several links are written alike."""

from collections import Counter
from collections.abc import Iterable, Iterator


def link_name(a: str, b: str, number: int = 1) -> str:
    """``a-b``, and ``a-b#2`` of the second link that is written with these two ends in this order."""
    return f"{a}-{b}" if number == 1 else f"{a}-{b}#{number}"


def numbers(ends: Iterable[tuple[str, str]]) -> Iterator[int]:
    """The number of each link, from 1, among those with the same two ends in the same order."""
    met = Counter[tuple[str, str]]()
    for pair in ends:
        met[pair] += 1
        yield met[pair]
