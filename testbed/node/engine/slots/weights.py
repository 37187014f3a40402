"""A whole model in memory, with a KV cache for each slot."""

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import Llama
from llama_cpp import llama_cpp as api
from numpy.typing import NDArray

from testbed.node.engine.stage import Layers, Limits, Rows


class Logits:
    """The logits of one row in llama.cpp's own memory, valid until the next batch."""

    def __init__(self, context: Any, row: int, vocabulary: int) -> None:
        self.context = context
        self.row = row
        self.values: NDArray[np.float32] = np.ctypeslib.as_array(api.llama_get_logits_ith(context, row), (vocabulary,))


class Weights(Layers):
    """All layers of a model. ``llama`` is its tokenizer, whose own context is given back at once."""

    def __init__(self, path: Path, limits: Limits, outputs: int) -> None:
        """Load the file; raises ValueError or StageError. At most ``outputs`` rows of a batch can have logits."""
        # Without mmap the weights are this process's own: a page cache shared with another node would let two nodes
        # hold one model in the memory of one.
        self.llama = Llama(str(path), n_ctx=1, n_batch=1, n_threads=1, use_mmap=False, verbose=False)
        self.llama._ctx.close()  # type: ignore[no-untyped-call] # its tables are as long as its batches; Llama has no parameter for that
        super().__init__(self.llama.model, limits, outputs)
        self._outputs_limit = outputs
        self._tokens = np.empty(limits.batch, np.int32)
        self.vocabulary: Any = api.llama_model_get_vocab(self._model)
        self._size: int = api.llama_vocab_n_tokens(self.vocabulary)

    def read(self, rows: Rows, tokens: Sequence[int], wanted: Sequence[int]) -> Iterator[tuple[int, Logits]]:
        """Compute rows of tokens; yields each of the ``wanted`` ones with its logits. Raises StageError."""
        outputs = np.zeros(len(rows), np.bool)
        outputs[list(wanted)] = True
        for part in rows.batches():
            self._tokens[: part.stop - part.start] = tokens[part]
            self._decode(rows, part, outputs, token=self._tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)))
            for row in wanted:
                if part.start <= row < part.stop:
                    yield row, Logits(self._context, row - part.start, self._size)

    def close(self) -> None:
        """Give the memory back."""
        api.llama_free(self._context)
        self.llama.close()
