"""Messages of a ring as bytes. docs/pipeline.md has the format in a table.

    header     20 bytes: magic, version, kind, encoding, number of rows, epoch, length of the rest, CRC-32 of it all
    rows        9 bytes each: which sample, at which position, and whether a token is drawn from it
    payload    depends on the kind of message: hidden rows, tokens, …

A token that travels alone costs its hidden row and 29 bytes a hop; in a group it costs less. Nothing is unpickled, and
every length is known and bounded before it is read. Invalid bytes raise FrameError, and have no effect.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from testbed.node.ring.wire.activations import ENCODINGS
from testbed.node.ring.wire.messages import KINDS, Activations, Coding, FrameError, RingMessage, Row

MAGIC: Final = b"RNG"
VERSION: Final = 2

MOST_ROWS: Final = 512
"""Rows in one frame, and so in one batch of a stage."""

_FIELDS: Final = struct.Struct("<3sBBBHII")
_CHECKSUM: Final = struct.Struct("<I")
_ROW: Final = struct.Struct("<IIB")

HEADER_BYTES: Final = _FIELDS.size + _CHECKSUM.size

_LONGEST_PAYLOAD_ROW: Final = 14  # bytes, of messages without hidden rows


class LostTrackError(FrameError):
    """The beginning of the next frame cannot be found either."""


@dataclass(frozen=True)
class Frame:
    """A message and its epoch, the time between two resets of the ring."""

    epoch: int
    message: RingMessage


@dataclass(frozen=True)
class Header:
    """The fields of a frame's header. ``length`` is the number of bytes after it, ``data`` the header itself."""

    kind: int
    encoding: int
    rows: int
    epoch: int
    length: int
    data: bytes


class Format:
    """Writes and reads the frames of one ring. ``width`` is the model's n_embd, ``encoding`` a name in ENCODINGS."""

    def __init__(self, width: int, encoding: str) -> None:
        self._coding = Coding(width, ENCODINGS[encoding])
        self._longest = MOST_ROWS * (_ROW.size + max(self._coding.row_bytes, _LONGEST_PAYLOAD_ROW))

    def write(self, frame: Frame) -> bytes:
        """The frame as bytes."""
        message, table = frame.message, frame.message.table
        content = b"".join(_ROW.pack(*row) for row in table) + message.payload(self._coding)
        encoding = self._encoding(message.kind)
        fields = _FIELDS.pack(MAGIC, VERSION, message.kind, encoding, len(table), frame.epoch, len(content))
        return fields + _CHECKSUM.pack(_checksum(fields, content)) + content

    def read_header(self, data: bytes) -> Header:
        """The header in the first HEADER_BYTES bytes of ``data``; raises LostTrackError."""
        magic, version, kind, encoding, rows, epoch, length = _FIELDS.unpack_from(data)
        if magic != MAGIC:
            raise LostTrackError("no frame begins here")
        if version != VERSION:
            raise LostTrackError(f"version {version}, and this is {VERSION}")
        if rows > MOST_ROWS or length > self._longest:
            raise LostTrackError(f"{rows} rows, {length} bytes; at most {MOST_ROWS} and {self._longest} are taken")
        return Header(kind, encoding, rows, epoch, length, data)

    def read(self, header: Header, content: bytes) -> Frame:
        """The frame with this header and the bytes after it; raises FrameError."""
        if len(content) != header.length or len(content) < header.rows * _ROW.size:
            raise FrameError(f"{len(content)} bytes for {header.rows} rows and {header.length} bytes")
        if _checksum(header.data[: _FIELDS.size], content) != _CHECKSUM.unpack_from(header.data, _FIELDS.size)[0]:
            raise FrameError("the checksum is wrong")
        if header.kind not in KINDS:
            raise FrameError(f"there is no kind {header.kind}")
        if header.encoding != self._encoding(header.kind):
            raise FrameError(f"encoding {header.encoding} is not this ring's")
        border = header.rows * _ROW.size
        table = [_row(*fields) for fields in _ROW.iter_unpack(content[:border])]
        return Frame(header.epoch, KINDS[header.kind].read(table, content[border:], self._coding))

    def _encoding(self, kind: int) -> int:
        return self._coding.encoding.code if kind == Activations.kind else 0


class FrameReader:
    """The frames of one connection, from bytes in portions of any size."""

    def __init__(self, layout: Format) -> None:
        self._layout = layout
        self._data = bytearray()
        self._header: Header | None = None  # of the frame that is coming

    def feed(self, data: bytes) -> None:
        """Append the next bytes."""
        self._data += data

    def next(self) -> Frame | None:
        """The next frame; None while bytes of it are missing.

        Raises FrameError, after which the next frame can be read, or LostTrackError, after which no frame can.
        """
        if self._header is None and len(self._data) >= HEADER_BYTES:
            self._header = self._layout.read_header(self._cut(HEADER_BYTES))
        header = self._header
        if header is None or len(self._data) < header.length:
            return None
        self._header = None
        return self._layout.read(header, self._cut(header.length))

    @property
    def missing(self) -> int:
        """The least number of bytes that an incomplete frame lacks; 0 between two frames."""
        if self._header is not None:
            return self._header.length - len(self._data)
        return HEADER_BYTES - len(self._data) if self._data else 0

    def _cut(self, count: int) -> bytes:
        data = bytes(self._data[:count])
        del self._data[:count]
        return data


def _checksum(fields: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(fields))


def _row(sample: int, position: int, draw: int) -> Row:
    if draw > 1:
        raise FrameError(f"a token is drawn from a row or not; {draw} is neither")
    return Row(sample, position, bool(draw))
