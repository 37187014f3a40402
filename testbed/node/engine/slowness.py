"""The fault `slow`: a model, or a stage of one, takes a multiple of its own time.

The host writes the factor to a file. The API would not do: an agent may be stopped when the fault begins or ends, and
the fault holds from the first token after a restart.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from testbed.node.engine.model import LanguageModel, OnText, Sampling
from testbed.patterns.participant import ChatMessage, Completion, Verification

_STINT: Final = bytes(2**16)
"""Hashing this takes a fraction of a millisecond, during which Python lets other threads run."""


class Slowness:
    """Stretches CPU time by the factor in ``file``, or by 1 if there is no file.

    The added time is spent computing. A node that slept would lose nothing behind a CPU cap: the CPU time saved by
    sleeping would be available to it right afterwards.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    @contextmanager
    def stretched(self) -> Iterator[None]:
        """Stretch the CPU time of whatever this thread does within the context."""
        begin = time.thread_time()
        yield
        self.stretch(begin)

    def stretch(self, begin: float) -> None:
        """Stretch what this thread did since ``begin``, in seconds of the thread's CPU time."""
        _compute((self.factor() - 1) * (time.thread_time() - begin))

    def factor(self) -> float:
        """How many times its own time everything takes now."""
        try:
            return float(self._file.read_text())
        except FileNotFoundError:
            return 1.0


class SlowedModel:
    """A model whose tokens are stretched by ``slowness``, each one as it is drawn."""

    def __init__(self, model: LanguageModel, slowness: Slowness) -> None:
        self._model = model
        self._slowness = slowness

    def complete(self, messages: Sequence[ChatMessage], sampling: Sampling, on_text: OnText) -> Completion:
        """The model's own completion. Reading the prompt counts as part of the first token."""
        begin = time.thread_time()

        def take_time(text: str) -> None:
            nonlocal begin
            self._slowness.stretch(begin)
            on_text(text)
            begin = time.thread_time()

        return self._model.complete(messages, sampling, take_time)

    def verify(self, messages: Sequence[ChatMessage], draft: Sequence[int], sampling: Sampling) -> Verification:
        """The model's own verification, in the longer time."""
        with self._slowness.stretched():
            return self._model.verify(messages, draft, sampling)

    def check(self, messages: Sequence[ChatMessage]) -> None:
        """Raise JobError for a chat that the model cannot take."""
        self._model.check(messages)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """The model's own."""
        return self._model.count(messages)

    @property
    def vocabulary(self) -> str:
        """The model's own."""
        return self._model.vocabulary

    def text_of(self, tokens: Sequence[int]) -> str:
        """The model's own."""
        return self._model.text_of(tokens)


def _compute(seconds: float) -> None:
    """Use ``seconds`` of this thread's CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        hashlib.sha256(_STINT)
