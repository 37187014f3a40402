"""The front of a split model: tokenizer, chat template and embeddings, without any layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llama_cpp import Llama
from numpy.typing import NDArray

from testbed.node.engine import ggml
from testbed.node.engine.chat import DEFAULTS, Chat
from testbed.node.engine.stage import StageError
from testbed.patterns.protocol import ChatOptions

_EMBEDDING = "token_embd.weight"
_SCALED = ("gemma3",)
"""Architectures that multiply embeddings by the root of their width. llama.cpp does so with tokens, not with rows."""


class Front(Chat):
    """The tokenizer and the embedding table of a split model. Rows of the table are read from the file on demand."""

    def __init__(self, path: Path, options: ChatOptions = DEFAULTS) -> None:
        """Open the file; raises StageError if it is not the front of a model."""
        try:
            llama = Llama(str(path), vocab_only=True, verbose=False)
            self._embedding = ggml.Table(path, _EMBEDDING, rows=llama.n_vocab())
            self._scaled = llama.metadata["general.architecture"] in _SCALED
        except (OSError, ValueError) as error:
            raise StageError(f"{path} is not the front of a model: {error}") from error
        super().__init__(llama, options)

    @property
    def width(self) -> int:
        """The number of values of an embedding, and of a hidden state."""
        return self._embedding.width

    def embed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The embedding of each token, equal bit by bit to llama.cpp's own. Raises StageError for an unknown token."""
        try:
            rows = self._embedding.rows(tokens)
        except IndexError as error:
            raise StageError(f"there is no such token: {error}") from error
        return rows * np.sqrt(np.float32(self.width)) if self._scaled else rows

    def close(self) -> None:
        """Free the memory, and close the file."""
        self._embedding.close()
        self._llama.close()
