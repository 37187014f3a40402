"""What can be read in the captured frames of a link (pcapng), by whoever listens there."""

import json
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_PACKET: Final = 6
_IPV4: Final = b"\x08\x00"
_TCP: Final = 6


def frames(path: Path) -> Iterator[bytes]:
    """The frames in a file of little-endian pcapng."""
    data, at = path.read_bytes(), 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if length < 12:
            return
        if kind == _PACKET:
            (size,) = struct.unpack_from("<I", data, at + 20)
            yield data[at + 28 : at + 28 + size]
        at += length


def readable(path: Path, texts: Mapping[str, str]) -> set[str]:
    """The keys of ``texts`` that can be read as they are in the frames of a file, also across several segments."""
    streams = list(_streams(path))
    return {key for key, text in texts.items() if any(form in stream for form in _forms(text) for stream in streams)}


def _forms(text: str) -> set[bytes]:
    """A text as it is, and as JSON has it."""
    return {text.encode(), *(json.dumps(text, ensure_ascii=ascii)[1:-1].encode() for ascii in (True, False))}


def _streams(path: Path) -> Iterator[bytes]:
    """What each direction of each TCP connection carried, in the order of its bytes; all other frames as they are."""
    segments: defaultdict[bytes, dict[int, bytes]] = defaultdict(dict)
    for frame in frames(path):
        packet = frame[14:]
        if frame[12:14] != _IPV4 or len(packet) < 40 or packet[9] != _TCP:
            yield frame
            continue
        header = (packet[0] & 15) * 4
        segment = packet[header : int.from_bytes(packet[2:4], "big") or None]
        (sequence,) = struct.unpack_from(">I", segment, 4)
        content = segment[(segment[12] >> 4) * 4 :]
        flow = segments[packet[12:20] + segment[:4]]  # both addresses and ports
        flow[sequence] = max(flow.get(sequence, b""), content, key=len)
    for flow in segments.values():
        yield b"".join(content for _, content in sorted(flow.items()))
