"""A model that takes longer than it would: what the fault `slow` does to a node.

The host says how much longer in a file, and not over the API: so it holds of an agent, too, that is stopped when the
fault begins or ends, and from the first token on of one that is started again.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from testbed.node.chat import Message
from testbed.node.model import Completion, LanguageModel, Sampling

_STINT: Final = bytes(2**16)
"""To hash it takes a fraction of a millisecond, during which Python lets other threads run."""


class SlowedModel:
    """A model that takes as many times as long for a token as ``file`` says when the token is drawn.

    The rest of the time it computes. Were it to sleep, a node behind a cap would be as fast as before: it would save
    the CPU time that it then uses at once.
    """

    def __init__(self, model: LanguageModel, file: Path) -> None:
        self._model = model
        self._file = file

    def complete(self, messages: Sequence[Message], sampling: Sampling, on_token: Callable[[], None]) -> Completion:
        """As the model would. What it reads counts as part of the first token."""
        begin = time.thread_time()

        def take_time() -> None:
            nonlocal begin
            _compute((self._slowness() - 1) * (time.thread_time() - begin))
            on_token()
            begin = time.thread_time()

        return self._model.complete(messages, sampling, take_time)

    def _slowness(self) -> float:
        try:
            return float(self._file.read_text())
        except FileNotFoundError:
            return 1.0


def _compute(seconds: float) -> None:
    """Use so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_STINT)
