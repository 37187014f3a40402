"""The front of a ring: text to tokens, tokens to embeddings, and tokens back to text. It holds no layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.node.model import Message


class Front:
    """The tokenizer and the embedding table of a split model. Rows of the table are read when they are needed."""

    def __init__(self, path: Path) -> None:
        """Open the front's file; raises StageError."""
        raise NotImplementedError

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a chat up to where the assistant's answer begins."""
        raise NotImplementedError

    def detokenize(self, tokens: Sequence[int], prompt: Sequence[int]) -> str:
        """The text of an answer to a prompt."""
        raise NotImplementedError

    def ends(self, token: int) -> bool:
        """Whether a token is the end of an answer, and no part of its text."""
        raise NotImplementedError

    def embed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The embedding of each token, the very values that llama.cpp looks up."""
        raise NotImplementedError
