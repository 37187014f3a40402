"""How probable a model takes a token to be."""

import numpy as np
from numpy.typing import NDArray


def log_probability(logits: NDArray[np.float32], token: int) -> float:
    """The natural logarithm of ``token``'s softmax over raw ``logits``: temperature and cuts play no part."""
    largest = logits.max()
    return float(logits[token] - largest - np.log(np.exp(logits - largest).sum()))
