"""How probable a model takes a token to be."""

import numpy as np
from numpy.typing import NDArray


def log_probability(logits: NDArray[np.float32], token: int) -> float:
    """The natural logarithm of ``token``'s softmax over raw ``logits``: temperature and cuts play no part."""
    largest = logits.max()
    return float(logits[token] - largest - np.log(np.exp(logits - largest).sum()))


def most_likely(logits: NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """The ``count`` tokens of the highest probability, the highest first, with the logarithms of theirs."""
    if count == 0:
        return []
    found = np.argpartition(-logits, min(count, len(logits)) - 1)[:count]
    return [(int(token), log_probability(logits, token)) for token in found[np.argsort(-logits[found], kind="stable")]]
