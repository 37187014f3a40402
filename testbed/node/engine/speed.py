"""``python -m testbed.node.engine.speed MODEL``: print the tokens that a model writes per CPU second."""

import sys
import time
from pathlib import Path
from typing import Final

from testbed.node.engine.model import ChatModel, LanguageModel, Sampling
from testbed.patterns.participant import ChatMessage

_QUESTION: Final[list[ChatMessage]] = [{"role": "user", "content": "Hello, who are you and what can you tell me?"}]
_LONGEST: Final = 16  # tokens of one answer
_TOKENS: Final = 1000
_SECONDS: Final = 8.0  # after which fewer tokens must do, with a large model
_FEWEST: Final = 8
_ANSWERS: Final = 200

WARM: Final = "warm"
"""Printed before the measurement begins, once the first answer has met the cold start."""


def tokens_per_second(model: LanguageModel) -> float:
    """The tokens that a model writes per second of one core, reading not counted.

    CPU time is measured, so other processes do not matter. Raises ValueError if the model writes next to nothing.
    """
    begin, tokens, seconds = time.monotonic(), 0, 0.0
    for seed in range(1, _ANSWERS + 1):
        if not (drawn := _write(model, seed)):
            continue
        tokens += len(drawn) - 1
        seconds += drawn[-1] - drawn[0]
        if tokens >= (_TOKENS if time.monotonic() - begin < _SECONDS else _FEWEST):
            return tokens / seconds
    raise ValueError("the model ends its answers at once, so its speed cannot be measured")


def _write(model: LanguageModel, seed: int) -> list[float]:
    """The CPU times, in seconds, at which the tokens of an answer were drawn."""
    drawn: list[float] = []
    model.complete(_QUESTION, Sampling(0.7, _LONGEST, seed), lambda _: drawn.append(time.process_time()))
    return drawn


def main(path: str) -> None:
    """Print the speed of the GGUF model at ``path``."""
    model = ChatModel(Path(path), context=512, threads=1)
    _write(model, seed=0)
    print(WARM, flush=True)
    print(tokens_per_second(model))


if __name__ == "__main__":
    main(sys.argv[1])
