"""``python -m testbed.node.speed MODEL``: print how many tokens a model writes in a second of one core's time."""

import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final

from testbed.node.model import ChatModel, LanguageModel, Sampling

_QUESTION: Final = [{"role": "user", "content": "Hello, who are you and what can you tell me?"}]
_LONGEST: Final = 64  # tokens of one answer
_TOKENS: Final = 200
_SECONDS: Final = 8.0  # after which fewer tokens must do, with a large model
_FEWEST: Final = 8


def tokens_per_second(model: LanguageModel) -> float:
    """How fast a model writes on a core of its own, answer after answer; what it takes to read is not counted.

    It is taken by CPU time, so it does not matter who else computes, and in the median, so a disturbance does not.
    Raises ValueError if the model writes next to nothing.
    """
    begin, seconds = time.monotonic(), list[float]()
    for seed in range(_TOKENS):
        drawn = _write(model, seed)
        if seed > 0:  # the first answer meets a cold start
            seconds += [later - earlier for earlier, later in pairwise(drawn)]
        late = time.monotonic() - begin > _SECONDS
        if len(seconds) >= _TOKENS or (late and len(seconds) >= _FEWEST):
            return 1 / median(seconds)
    raise ValueError("the model ends its answers at once, so its speed cannot be measured")


def _write(model: LanguageModel, seed: int) -> list[float]:
    """The times, in seconds of CPU time, at which the tokens of an answer were drawn."""
    drawn: list[float] = []
    model.complete(_QUESTION, Sampling(0.7, _LONGEST, seed), lambda: drawn.append(time.process_time()))
    return drawn


def main(path: str) -> None:
    """Print the speed of a GGUF model."""
    print(tokens_per_second(ChatModel(Path(path), context=512, threads=1)))


if __name__ == "__main__":
    main(sys.argv[1])
