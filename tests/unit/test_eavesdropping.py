"""What a listener reads in captured frames: a link's frames as pcapng, and texts in them."""

import struct
from pathlib import Path
from typing import Any

import pytest

from testbed.analysis.eavesdropping import frames, readable
from testbed.analysis.metrics.traffic import capture_readable
from testbed.core.errors import SpecError
from testbed.world.network.capture import _beginning, _packet


def _tcp(payload: bytes, sequence: int, source: bytes = bytes([10, 0, 0, 1])) -> bytes:
    segment = struct.pack(">HHIIBBHHH", 40000, 8080, sequence, 0, 5 << 4, 0x18, 1000, 0, 0) + payload
    packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, 6, 0) + source + bytes([10, 0, 0, 2])
    return bytes(12) + b"\x08\x00" + packet + segment


def _file(path: Path, *given: bytes) -> Path:
    path.write_bytes(_beginning("a-s1") + b"".join(_packet(frame, 1_700_000_000_000_000_001) for frame in given))
    return path


def test_a_text_is_read_across_segments_in_any_order_and_with_repeats(tmp_path: Path) -> None:
    one, two, three = _tcp(b"what is ", 100), _tcp(b"the capital", 108), _tcp(b" of\\n\\u00e9?", 119)
    path = _file(tmp_path / "x.pcapng", three, one, two, one)
    texts = {"p1": "the capital of", "p2": "of\né?", "p3": "the capital  of", "p4": "is the"}
    assert readable(path, texts) == {"p1", "p2", "p4"}


def test_streams_of_different_senders_are_not_put_together(tmp_path: Path) -> None:
    path = _file(tmp_path / "x.pcapng", _tcp(b"the cap", 1), _tcp(b"ital", 8, bytes([10, 0, 0, 3])))
    assert readable(path, {"p1": "the capital"}) == set()


def test_frames_that_are_no_tcp_are_read_as_they_are(tmp_path: Path) -> None:
    path = _file(tmp_path / "x.pcapng", bytes(12) + b"\x08\x06short", b"hello there")
    assert readable(path, {"p1": "hello", "p2": "short", "p3": "absent"}) == {"p1", "p2"}
    assert list(frames(path)) == [bytes(12) + b"\x08\x06short", b"hello there"]


def test_a_file_that_was_cut_off_gives_the_frames_before(tmp_path: Path) -> None:
    path = _file(tmp_path / "x.pcapng", b"first frame", b"second frame")
    path.write_bytes(path.read_bytes()[:-5])
    assert next(frames(path)) == b"first frame"


def test_the_blocks_are_those_of_the_draft(tmp_path: Path) -> None:
    """Read by an independent walk: type, length, body, length again; times are in nanoseconds."""
    data = _file(tmp_path / "x.pcapng", b"12345").read_bytes()
    assert data[:12] == bytes.fromhex("0a0d0d0a 1c000000 4d3c2b1a")
    kinds, at = [], 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        kinds.append(kind)
        at += length
    assert kinds == [0x0A0D0D0A, 1, 6]
    high, low, captured, original = struct.unpack_from("<IIII", data, len(data) - 40 + 12)
    assert ((high << 32) + low, captured, original) == (1_700_000_000_000_000_001, 5, 5)


def test_the_share_of_prompts_that_any_link_shows(files: Any) -> None:
    del files
    events = [
        {"t": 1.0, "node": "host", "event": "captured", "prompts": ["p1", "p2"], "readable": readable_}
        for readable_ in (["p1"], [])
    ]
    part: Any = type("Part", (), {"of": lambda _, kind: [event for event in events if event["event"] == kind]})()
    assert capture_readable.measure(part) == 0.5
    events.clear()
    assert capture_readable.measure(part) is None


def test_a_link_that_is_not_there_is_refused_with_those_that_are(files: Any) -> None:
    with pytest.raises(SpecError, match=r"capture\[0\]: there is no link 'a-s9'; known are a-s1, b-s1"):
        files.load("capture=[a-s9]")
    assert files.load("capture=[a-s1]").capture == ["a-s1"]
