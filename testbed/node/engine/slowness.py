"""A model, or a stage of one, that takes longer than it would: what the fault `slow` does to a node.

The host says how much longer in a file, and not over the API: so it holds of an agent, too, that is stopped when the
fault begins or ends, and from the first token on of one that is started again.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from testbed.node.engine.model import LanguageModel, Sampling
from testbed.patterns.participant import ChatMessage, Completion, Verification

_STINT: Final = bytes(2**16)
"""To hash it takes a fraction of a millisecond, during which Python lets other threads run."""


class Slowness:
    """As many times as long as ``file`` says; without one, as long as ever.

    The rest of the time is computed away. Were it slept, a node behind a cap would be as fast as before: it would save
    the CPU time that it then uses at once.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def stretched(self) -> Iterator[None]:
        """Make what this thread does within that much longer, in CPU time."""
        begin = time.thread_time()
        yield
        self.stretch(begin)

    def stretch(self, begin: float) -> None:
        """Make what this thread did since ``begin``, in seconds of its own CPU time, that much longer."""
        _compute((self._times() - 1) * (time.thread_time() - begin))

    def _times(self) -> float:
        try:
            return float(self._file.read_text())
        except FileNotFoundError:
            return 1.0


class SlowedModel:
    """A model whose every token takes as long as ``slowness`` makes it, when it is drawn."""

    def __init__(self, model: LanguageModel, slowness: Slowness) -> None:
        self._model = model
        self._slowness = slowness

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_token: Callable[[], None]) -> Completion:
        """As the model would. What it reads counts as part of the first token."""
        begin = time.thread_time()

        def take_time() -> None:
            nonlocal begin
            self._slowness.stretch(begin)
            on_token()
            begin = time.thread_time()

        return self._model.complete(messages, sampling, take_time)

    def verify(self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling) -> Verification:
        """The model's own verification, in the longer time."""
        with self._slowness.stretched():
            return self._model.verify(messages, draft, sampling)

    @property
    def vocabulary(self) -> str:
        """The model's own."""
        return self._model.vocabulary


def _compute(seconds: float) -> None:
    """Use so much CPU time of this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_STINT)
