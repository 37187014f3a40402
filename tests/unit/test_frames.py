"""The frames of a ring: what is written is read back, and nothing else is read at all."""

import random
import struct
import zlib

import numpy as np
import pytest

from testbed.node.ring.wire.activations import ENCODINGS
from testbed.node.ring.wire.frames import HEADER_BYTES, MOST_ROWS, Format, Frame, FrameReader, LostTrackError
from testbed.node.ring.wire.messages import (
    Activations,
    Alive,
    Drawing,
    Failing,
    FrameError,
    Freeing,
    Loss,
    Opening,
    Reset,
    RingMessage,
    Row,
    Timing,
    Tokens,
)

WIDTH = 64
LAYOUT = Format(WIDTH, "f32")
ROWS = [Row(3, 17, True), Row(4_000_000_000, 0, False)]
HIDDEN = np.random.default_rng(1).normal(size=(2, WIDTH)).astype(np.float32)

MESSAGES: list[RingMessage] = [
    Activations(ROWS, HIDDEN),
    Tokens(ROWS, [0, 151_000], [-0.5, -12.25]),
    Opening(7, 15, Drawing(2**32 - 1, 0.5, 0.75)),
    Freeing([1, 2, 3]),
    Reset([]),
    Reset([1]),
    Loss(2),
    Timing([0.5, 0.25, 1.0]),
    Timing([]),
    Alive(3),
    Failing([4, 9], "llama_decode gave 1: größer"),
]
names = pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)


def _read(data: bytes, layout: Format = LAYOUT) -> Frame:
    """As a connection that ends after ``data``; raises EOFError if that is too early."""
    reader = FrameReader(layout)
    reader.feed(data)
    frame = reader.next()
    if frame is None:
        raise EOFError
    return frame


def _signed(data: bytes) -> bytes:
    """``data`` with the checksum that goes with it: what is wrong with it is something else."""
    fields, content = data[: HEADER_BYTES - 4], data[HEADER_BYTES:]
    return fields + struct.pack("<I", zlib.crc32(fields + content)) + content


@names
def test_a_frame_is_read_as_it_was_written(message: RingMessage) -> None:
    frame = Frame(9, message)
    data = LAYOUT.write(frame)
    read = _read(data)
    assert read.epoch == 9
    assert type(read.message) is type(message)
    assert LAYOUT.write(read) == data


def test_hidden_rows_in_f32_come_back_bit_by_bit() -> None:
    message = _read(LAYOUT.write(Frame(0, MESSAGES[0]))).message
    assert isinstance(message, Activations)
    assert message.rows == ROWS
    assert np.array_equal(message.hidden, HIDDEN)


@pytest.mark.parametrize(("encoding", "error"), [("f16", 2**-10), ("q8_0", 1 / 250)])
def test_shorter_encodings_come_back_nearly(encoding: str, error: float) -> None:
    layout = Format(WIDTH, encoding)
    message = _read(layout.write(Frame(0, Activations(ROWS, HIDDEN))), layout).message
    assert isinstance(message, Activations)
    assert np.abs(message.hidden - HIDDEN).max() <= error * np.abs(HIDDEN).max()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_survives_rows_of_zeros_and_of_huge_values(encoding: str) -> None:
    layout = Format(WIDTH, encoding)
    hidden = np.stack([np.zeros(WIDTH, np.float32), np.full(WIDTH, 1e30, np.float32)])
    message = _read(layout.write(Frame(0, Activations(ROWS, hidden))), layout).message
    assert isinstance(message, Activations)
    assert not message.hidden[0].any()
    assert (message.hidden[1] > 60_000).all()


@pytest.mark.parametrize(("encoding", "size"), [("f32", 4), ("f16", 2), ("q8_0", 34 / 32)])
@pytest.mark.parametrize("width", [64, 896, 2048])
def test_a_hop_costs_a_token_its_row_and_at_most_64_bytes(width: int, encoding: str, size: float) -> None:
    row = np.ones((1, width), np.float32)
    data = Format(width, encoding).write(Frame(1, Activations(ROWS[:1], row)))
    assert len(data) <= width * size + 64


@names
def test_a_frame_with_any_bit_turned_over_is_rejected(message: RingMessage) -> None:
    data = LAYOUT.write(Frame(9, message))
    for bit in range(8 * len(data)):
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        with pytest.raises((FrameError, EOFError)):
            _read(bytes(turned))


@names
def test_a_frame_that_is_cut_short_is_none(message: RingMessage) -> None:
    data = LAYOUT.write(Frame(9, message))
    for length in range(len(data)):
        with pytest.raises(EOFError):
            _read(data[:length])


def test_noise_is_no_frame() -> None:
    noise = random.Random(3)
    for _ in range(500):
        with pytest.raises((FrameError, EOFError)):
            _read(noise.randbytes(noise.randrange(400)))


def test_a_forged_frame_whose_checksum_is_right_is_rejected_or_a_frame() -> None:
    """Every byte behind the magic, set to every value: whatever is taken is what its own bytes say."""
    for message in MESSAGES:
        data = LAYOUT.write(Frame(9, message))
        for place in range(3, len(data)):
            for value in (0, 1, 127, 255):
                forged = _signed(data[:place] + bytes([value]) + data[place + 1 :])
                try:
                    frame = _read(forged)
                except (FrameError, EOFError):
                    continue
                assert LAYOUT.write(frame) == forged


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((b"HTT", 1, 8, 0, 0, 0, 0), "no frame begins here"),
        ((b"RNG", 1, 8, 0, 0, 0, 0), "version 1, and this is 2"),
        ((b"RNG", 2, 1, 1, MOST_ROWS + 1, 0, 0), "at most 512"),
        ((b"RNG", 2, 1, 1, 1, 0, 2**31), "2147483648 bytes"),
    ],
)
def test_a_header_after_which_nothing_can_be_found_says_so(fields: tuple[object, ...], reason: str) -> None:
    with pytest.raises(LostTrackError, match=reason):
        _read(struct.pack("<3sBBBHIII", *fields, 0))


@pytest.mark.parametrize(
    ("fields", "content", "reason"),
    [
        ((99, 0, 0), b"", "no kind 99"),
        ((1, 2, 1), bytes(9 + 4 * WIDTH), "encoding 2 is not this ring's"),
        ((1, 1, 0), b"", "no rows"),
        ((1, 1, 1), bytes(9), "a payload of 0 bytes; it should be 256"),
        ((1, 1, 1), bytes(9) + b"\x00\x00\xc0\x7f" * WIDTH, "no number"),
        ((2, 0, 1), bytes([0] * 8 + [2]) + bytes(4), "2 is neither"),
        ((2, 0, 3), bytes(9), "9 bytes for 3 rows"),
        ((2, 0, 1), bytes(9) + struct.pack("<If", 5, 0.5), "a probability that is above 1"),
        ((2, 0, 1), bytes(9) + struct.pack("<If", 5, float("nan")), "no number"),
        ((3, 0, 2), bytes(18 + 14), "2 samples begin at once"),
        ((3, 0, 1), bytes(9) + struct.pack("<HIff", 0, 0, -1.0, 1.0), "temperature -1.0"),
        ((3, 0, 1), bytes(9) + struct.pack("<HIff", 0, 0, float("nan"), 1.0), "temperature nan"),
        ((4, 0, 1), bytes([0] * 4 + [1] + [0] * 4), "a row that says more"),
        ((4, 0, 1), bytes(10), "a payload of 1 bytes; it should be 0"),
        ((5, 0, 1), bytes(9), "1 rows too many"),
        ((6, 0, 0), b"", "a payload of 0 bytes; it should be 4"),
        ((9, 0, 1), bytes(9) + b"\xff", "no text"),
        ((9, 0, 1), bytes(9 + 513), "1 bytes; it should be 0"),
        ((7, 0, 0), b"123", "a payload of 3 bytes"),
    ],
)
def test_a_frame_that_is_no_message_is_rejected_with_its_reason(
    fields: tuple[int, int, int], content: bytes, reason: str
) -> None:
    head = struct.pack("<3sBBBHIII", b"RNG", 2, *fields, 0, len(content), 0)
    with pytest.raises(FrameError, match=reason) as raised:
        _read(_signed(head + content))
    assert not isinstance(raised.value, LostTrackError)


def test_after_a_rejected_frame_the_next_is_read() -> None:
    reader = FrameReader(LAYOUT)
    reader.feed(_signed(struct.pack("<3sBBBHIII", b"RNG", 2, 99, 0, 0, 0, 2, 0) + b"xx"))
    reader.feed(LAYOUT.write(Frame(5, Loss(1))))
    with pytest.raises(FrameError):
        reader.next()
    assert reader.next() == Frame(5, Loss(1))


@names
def test_a_frame_is_read_once_its_last_byte_is_there(message: RingMessage) -> None:
    reader, data = FrameReader(LAYOUT), LAYOUT.write(Frame(9, message))
    for count in range(len(data)):
        assert reader.next() is None
        assert (reader.missing > 0) == (count > 0)
        reader.feed(data[count : count + 1])
    frame = reader.next()
    assert frame is not None
    assert LAYOUT.write(frame) == data
    assert reader.missing == 0
