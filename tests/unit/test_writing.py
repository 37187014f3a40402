"""Text that leaves as it grows: joined, it is the text; and stops end it."""

import random

import pytest

from testbed.node.engine.writing import Writer


def _written(pieces: list[bytes], stops: list[str]) -> tuple[list[str], str, bool]:
    writer, told = Writer(pieces.__getitem__, stops), list[str]()
    for token in range(len(pieces)):
        told.append(writer.add(token))
        if writer.stopped:
            break
    told.append(writer.finish())
    return told, writer.text, writer.stopped


def test_each_token_leaves_when_it_is_drawn() -> None:
    told, text, stopped = _written([b" The", b" cat", b" sat", b"."], [])
    assert told == ["The", " cat", " sat", ".", ""]
    assert (text, stopped) == ("The cat sat.", False)


def test_a_character_leaves_when_it_is_whole() -> None:
    hand = "🤝".encode()
    assert _written([b"a", hand[:1], hand[1:3], hand[3:] + b"b"], [])[0] == ["a", "", "", "🤝b", ""]
    assert _written([b"a", hand[:2]], [])[:2] == (["a", "", "\ufffd"], "a\ufffd")


def test_nothing_leaves_that_may_be_the_beginning_of_a_stop() -> None:
    assert _written([b"a", b"E", b"N", b"x", b"EN", b"D", b"y"], ["END"]) == (
        ["a", "", "", "ENx", "", "", ""],
        "aENx",
        True,
    )
    assert _written([b"a", b"E"], ["END"]) == (["a", "", "E"], "aE", False)


def test_the_first_stop_counts_also_inside_a_token() -> None:
    assert _written([b"one\ntwo###three"], ["###", "\n"])[1:] == ("one", True)


def test_white_space_leaves_with_what_follows_it() -> None:
    assert _written([b" ", b"a", b" ", b" b", b"\n"], [])[0] == ["", "a", "", "  b", "", ""]


@pytest.mark.parametrize("seed", range(200))
def test_what_left_is_the_text(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choices(["a", "b", " ", "\n", "é", "漢", "🤝", "ab"], k=draw.randrange(40)))
    raw = text.encode()[: draw.randrange(len(text.encode()) + 1)]
    cuts = sorted(draw.choices(range(len(raw) + 1), k=10))
    pieces = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    stops = ["".join(draw.choices("ab\n", k=draw.randrange(1, 4))) for _ in range(draw.randrange(3))]
    told, written, stopped = _written(pieces, stops)
    plain = raw.decode(errors="replace")
    places = [plain.find(stop) for stop in stops if stop in plain]
    assert written == "".join(told) == plain[: min(places, default=len(plain))].strip()
    assert stopped == bool(places)
