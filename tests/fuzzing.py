"""Mutations of files that users write: what a hand, an editor, a merge or a bad disk makes of them."""

import random
import re
from collections.abc import Callable, Sequence

_PIECES = (
    *("", " ", "\n", "\t", "  ", "- ", ": ", "{", "}", "[", "]", ",", '"', "'", "#", "|", ">", "%", "@", "`"),
    *("---\n", "...\n", "null", "true", "no", "~", ".nan", ".inf", "-.inf", "0", "-0", "-1", "1e309", "1e-400"),
    *("0x10", "0o17", "1_000", "2026-11-30", "2026-02-30"),
    *("9" * 40, "٣", "½", "é", "\u202e", "\ufeff", "\x00", "\x85", "\U0001f600", "a" * 5000, "[" * 500, "{a: " * 200),
    *("&a ", "*a", "<<: *a\n", "!!int ", "!!python/object:os.system ", "!!binary ", "!!set ", "? "),
    *("0s", "-1ms", "1e9s", "10", "10 ms", "1mbit", "0bit", "150%", "-5%", "1GiB", "0B", "1/s", "0/s", "inf/s"),
    *("../topologies/home_mesh.yaml", "/", "/dev/null", ".", "path:/dev/null", "hf:o/r/f.gguf", "./no.py:Kind"),
)  # fmt: skip
_NUMBER = re.compile(r"\d+(\.\d+)?")
_WORD = re.compile(r"[A-Za-z_]+")

Mutation = Callable[[str, Sequence[str], random.Random], str]


def mutated(text: str, corpus: Sequence[str], draw: random.Random) -> str:
    """``text`` after one to four random mutations, which take pieces from the files of ``corpus`` as well."""
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        text = draw.choice(_MUTATIONS)(text, corpus, draw)
    return text


def _cut(text: str, draw: random.Random, longest: int) -> tuple[int, int]:
    begin = draw.randrange(len(text) + 1)
    return begin, min(len(text), begin + draw.randint(0, longest))


def _lose(text: str, _: Sequence[str], draw: random.Random) -> str:
    begin, end = _cut(text, draw, 40)
    return text[:begin] + text[end:]


def _end_early(text: str, _: Sequence[str], draw: random.Random) -> str:
    return text[: draw.randrange(len(text) + 1)]


def _repeat(text: str, _: Sequence[str], draw: random.Random) -> str:
    begin, end = _cut(text, draw, 80)
    return text[:end] + text[begin:]


def _insert(text: str, _: Sequence[str], draw: random.Random) -> str:
    begin, end = _cut(text, draw, 3)
    return text[:begin] + draw.choice(_PIECES) + text[end:]


def _take_line_of_another(text: str, corpus: Sequence[str], draw: random.Random) -> str:
    lines, others = text.split("\n"), draw.choice(corpus).split("\n")
    place = draw.randrange(len(lines))
    lines[place : place + draw.randint(0, 1)] = [draw.choice(others)]
    return "\n".join(lines)


def _move_line(text: str, _: Sequence[str], draw: random.Random) -> str:
    lines = text.split("\n")
    line = lines.pop(draw.randrange(len(lines)))
    lines.insert(draw.randint(0, len(lines)), " " * draw.choice([0, 0, 1, 2, 4]) + line)
    return "\n".join(lines)


def _exchange(pattern: re.Pattern[str], others: Callable[[Sequence[str], random.Random], str]) -> Mutation:
    def exchange(text: str, corpus: Sequence[str], draw: random.Random) -> str:
        found = list(pattern.finditer(text))
        if not found:
            return text
        begin, end = draw.choice(found).span()
        return text[:begin] + others(corpus, draw) + text[end:]

    return exchange


def _any_word(corpus: Sequence[str], draw: random.Random) -> str:
    return draw.choice(_WORD.findall(draw.choice(corpus)) or [""])


def _any_piece(_: Sequence[str], draw: random.Random) -> str:
    return draw.choice(_PIECES)


_MUTATIONS: Sequence[Mutation] = (
    _lose,
    _end_early,
    _repeat,
    _insert,
    _take_line_of_another,
    _move_line,
    _exchange(_NUMBER, _any_piece),
    _exchange(_WORD, _any_piece),
    _exchange(_WORD, _any_word),
)
