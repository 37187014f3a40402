"""How the last stage draws tokens from logits."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from testbed.node.ring.wire.activations import Hidden
from testbed.node.ring.wire.messages import Drawing

_TOP_K: Final = 40  # llama.cpp's defaults, and its order: these two and top-p choose what is drawn from
_MIN_P: Final = 0.05


def draw(logits: Hidden, drawing: Drawing, position: int) -> int:
    """The token after ``position``: the likeliest at temperature 0, otherwise a random one.

    The draw depends on the sample's seed and the position alone, so a sample that goes round again gets equal tokens.
    """
    if drawing.temperature == 0:
        return int(logits.argmax())
    likeliest = np.argsort(-logits, kind="stable")[:_TOP_K]
    chances = _softmax(logits[likeliest].astype(np.float64))
    before = np.cumsum(chances) - chances
    kept = likeliest[(before < drawing.top_p) & (chances >= _MIN_P * chances[0])]
    weights = _softmax(logits[kept].astype(np.float64) / drawing.temperature)
    return int(np.random.default_rng([drawing.seed, position]).choice(kept, p=weights))


def _softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(values - values.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares
