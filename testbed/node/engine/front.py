"""The front of a ring: text to tokens, tokens to embeddings, and tokens back to text. It holds no layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llama_cpp import Llama
from numpy.typing import NDArray

from testbed.node.engine import ggml
from testbed.node.engine.chat import Chat
from testbed.node.engine.stage import StageError

_EMBEDDING = "token_embd.weight"


class Front(Chat):
    """The tokenizer and the embedding table of a split model. Rows of the table are read when they are needed."""

    def __init__(self, path: Path) -> None:
        """Open the front's file; raises StageError where it is none."""
        try:
            llama = Llama(str(path), vocab_only=True, verbose=False)
            self._embedding = ggml.Table(path, _EMBEDDING, rows=llama.n_vocab())
        except (OSError, ValueError) as error:
            raise StageError(f"{path} is not the front of a model: {error}") from error
        super().__init__(llama)

    @property
    def width(self) -> int:
        """The values of an embedding, and of a hidden state."""
        return self._embedding.width

    def embed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The embedding of each token, the very values that llama.cpp looks up. Raises StageError."""
        try:
            return self._embedding.rows(tokens)
        except IndexError as error:
            raise StageError(f"no such token: {error}") from error

    def close(self) -> None:
        """Give the memory back."""
        self._embedding.close()
        self._llama.close()
