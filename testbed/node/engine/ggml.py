"""Functions of llama.cpp's library that llama-cpp-python does not wrap: tensors, their types, headers of GGUF files."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

_LIBRARY = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libllama.so"))
"""The copy of the library that llama-cpp-python has loaded."""


class _TypeTraits(ctypes.Structure):
    """The first fields of ``ggml_type_traits``: how values of one type are encoded in blocks."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("block_values", ctypes.c_int64),
        ("block_values_interleaved", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    )


class _GgufParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_LIBRARY, name)
    function.restype, function.argtypes = result, arguments
    return function


tensor_name = _function("ggml_get_name", ctypes.c_char_p, ctypes.c_void_p)
_tensor_bytes = _function("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)
_tensor_get = _function(
    "ggml_backend_tensor_get", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
)
_type_traits = _function("ggml_get_type_traits", ctypes.POINTER(_TypeTraits), ctypes.c_int)
_gguf_open = _function("gguf_init_from_file", ctypes.c_void_p, ctypes.c_char_p, _GgufParams)
_gguf_free = _function("gguf_free", None, ctypes.c_void_p)
_gguf_find = _function("gguf_find_tensor", ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p)
_gguf_type = _function("gguf_get_tensor_type", ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
_gguf_size = _function("gguf_get_tensor_size", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64)
_gguf_data = _function("gguf_get_data_offset", ctypes.c_size_t, ctypes.c_void_p)
_gguf_offset = _function("gguf_get_tensor_offset", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int64)


def read_tensor(tensor: int, width: int) -> NDArray[np.float32]:
    """The rows of a ``float32`` tensor. To be called while its graph is being computed."""
    values = np.empty((_tensor_bytes(tensor) // (4 * width), width), np.float32)
    _tensor_get(tensor, values.ctypes.data, 0, values.nbytes)
    return values


class Table:
    """A matrix in a GGUF file. Rows are read on demand, so the matrix is never in memory as a whole."""

    def __init__(self, path: Path, name: str, rows: int) -> None:
        """Find the tensor ``name``, which has ``rows`` rows; raises OSError if it is missing or cut off."""
        self._file = path.open("rb", buffering=0)
        self._rows = rows
        header = _gguf_open(os.fsencode(path), _GgufParams(no_alloc=True, ctx=None))
        if not header:
            raise OSError(f"{path} is no GGUF file")
        try:
            index = _gguf_find(header, name.encode())
            if index < 0:
                raise OSError(f"{path} has no {name}")
            size = _gguf_size(header, index)
            self._begin = _gguf_data(header) + _gguf_offset(header, index)
            self._row_bytes = size // rows
            self._traits = _type_traits(_gguf_type(header, index)).contents
        finally:
            _gguf_free(header)
        if path.stat().st_size < self._begin + size:
            raise OSError(f"{path} ends before the end of {name}")

    @property
    def width(self) -> int:
        """The number of values of a row."""
        return int(self._row_bytes // self._traits.block_bytes * self._traits.block_values)

    def rows(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """The rows with these numbers, decoded as llama.cpp does; raises IndexError."""
        for number in numbers:
            if not 0 <= number < self._rows:
                raise IndexError(f"there is no row {number} among {self._rows}")
        encoded = b"".join(
            os.pread(self._file.fileno(), self._row_bytes, self._begin + number * self._row_bytes) for number in numbers
        )
        if not self._traits.to_float:  # they are float32 already
            return np.frombuffer(encoded, np.float32).reshape(len(numbers), -1)
        values = np.empty((len(numbers), self.width), np.float32)
        self._traits.to_float(encoded, values.ctypes.data, values.size)
        return values

    def close(self) -> None:
        """Close the file."""
        self._file.close()
