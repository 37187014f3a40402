"""Hidden rows as bytes: exact, or rounded to fewer bytes.

f32     4 bytes a value, as llama.cpp computes them
f16     2 bytes; values beyond ±65,504 are clipped
q8_0    34 bytes for 32 values: a scale in f16 and a signed byte each, ggml's block of that name
"""

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hidden = NDArray[np.float32]
"""Hidden states, one line for each row of a frame."""

_LARGEST_F16: Final = float(np.finfo(np.float16).max)
_BLOCK: Final = 32
_Q8_0: Final = np.dtype([("scale", "<f2"), ("values", "i1", _BLOCK)])


class Encoding(ABC):
    """An encoding of hidden rows. ``code`` is its number in a frame."""

    code: int

    @abstractmethod
    def row_bytes(self, width: int) -> int:
        """The number of bytes of a row of ``width`` values."""

    @abstractmethod
    def encode(self, rows: Hidden) -> bytes:
        """The rows as bytes, one after the other."""

    @abstractmethod
    def decode(self, data: bytes, width: int) -> Hidden:
        """The rows in ``data``, whose length is a multiple of a row's."""


class _Floats(Encoding):
    """Values as floating-point numbers of one size."""

    def __init__(self, code: int, kind: str) -> None:
        self.code = code
        self._kind = np.dtype(kind)

    def row_bytes(self, width: int) -> int:
        return width * self._kind.itemsize

    def encode(self, rows: Hidden) -> bytes:
        if self._kind.itemsize == 2:
            rows = np.clip(rows, -_LARGEST_F16, _LARGEST_F16)
        return rows.astype(self._kind).tobytes()

    def decode(self, data: bytes, width: int) -> Hidden:
        return np.frombuffer(data, self._kind).reshape(-1, width).astype(np.float32)


class _Blocks(Encoding):
    """Blocks of 32 values. The width of every model that llama.cpp can quantize is a multiple of 32."""

    code = 3

    def row_bytes(self, width: int) -> int:
        return width // _BLOCK * _Q8_0.itemsize

    def encode(self, rows: Hidden) -> bytes:
        values = rows.reshape(-1, _BLOCK)
        scales = np.minimum(np.abs(values).max(axis=1) / 127, _LARGEST_F16)
        blocks = np.empty(len(values), _Q8_0)
        blocks["scale"] = scales
        steps = np.divide(values, scales[:, None], out=np.zeros_like(values), where=scales[:, None] > 0)
        blocks["values"] = np.clip(np.rint(steps), -127, 127)
        return blocks.tobytes()

    def decode(self, data: bytes, width: int) -> Hidden:
        blocks = np.frombuffer(data, _Q8_0)
        rows: Hidden = blocks["scale"].astype(np.float32)[:, None] * blocks["values"]
        return rows.reshape(-1, width)


ENCODINGS: Final[dict[str, Encoding]] = {"f32": _Floats(1, "<f4"), "f16": _Floats(2, "<f2"), "q8_0": _Blocks()}
"""The encodings by their names in scenarios."""
