"""Random weights, drawn in their encoded form. Without an encoder, a gigabyte takes seconds.

A block of an encoding holds small integers and a common scale. The integers are uniform random bits, made symmetric
about zero. The scale is the same for a whole tensor and sets the standard deviation of its values.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def draw(seed: str, kind: GGMLQuantizationType, rows: int, columns: int, deviation: float) -> Bytes:
    """A matrix of encoding ``kind`` with that standard deviation, as a uint8 array with one line for each row.

    Equal seeds give equal bytes on every host.
    """
    block, size = GGML_QUANT_SIZES[kind]
    bits = np.random.PCG64(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:16]))
    count = rows * columns // block
    words = bits.random_raw(-(-count * size // 8))
    blocks = words.view(np.uint8)[: count * size].reshape(count, size)
    _ENCODINGS[kind](blocks, deviation)
    return blocks.reshape(rows, -1)


def _q4_0(blocks: Bytes, deviation: float) -> None:
    """A scale, then 32 integers of 4 bits, for -8 to 7. Here -8 becomes 0, so 0 is twice as likely as others."""
    blocks[:, 2:] = _SYMMETRIC_NIBBLES[blocks[:, 2:]]
    _scale(blocks[:, :2], deviation / np.std([0, *range(-7, 8)]))


def _q8_0(blocks: Bytes, deviation: float) -> None:
    """A scale, then 32 integers of 8 bits. Here -128 becomes 0, so 0 is twice as likely as others."""
    integers = blocks[:, 2:]
    integers[integers == 128] = 0  # -128
    _scale(blocks[:, :2], deviation / np.std([0, *range(-127, 128)]))


def _q6_k(blocks: Bytes, deviation: float) -> None:
    """256 integers of 6 bits, for -32 to 31, a factor of 8 bits for each 16 of them, then a scale.

    The factors are 64 or -64 at random, which makes the values symmetric about zero.
    """
    factors = blocks[:, 192:208]
    factors[:] = np.where(factors & 1, np.uint8(64), np.uint8(256 - 64))
    _scale(blocks[:, 208:], deviation / (64 * float(np.sqrt(np.mean(np.square(range(-32, 32)))))))


def _scale(places: Bytes, value: float) -> None:
    places[:] = np.array([value], np.float16).view(np.uint8)


_NIBBLES: Final = np.where(np.arange(16) == 0, 8, np.arange(16)).astype(np.uint8)  # -8 becomes 0
_SYMMETRIC_NIBBLES: Final = (_NIBBLES[:, None] << 4 | _NIBBLES[None, :]).reshape(256)

_ENCODINGS: Final[dict[GGMLQuantizationType, Callable[[Bytes, float], None]]] = {
    GGMLQuantizationType.Q4_0: _q4_0,
    GGMLQuantizationType.Q8_0: _q8_0,
    GGMLQuantizationType.Q6_K: _q6_k,
}
