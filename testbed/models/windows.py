"""Sliding windows: layers that attend to the last tokens alone.

Of every ``period`` layers, the last attends to all tokens. llama.cpp takes from a layer's number which these are, so a
stage, whose layers are numbered from 0, needs a period of its own; not every run of layers has one.
"""

from dataclasses import dataclass
from typing import Final

from testbed.models.gguf_file import GgufFile

PERIOD: Final = "attention.sliding_window_pattern"
_WINDOW: Final = "attention.sliding_window"
_GEMMA3: Final = 6  # llama.cpp's period for files that name none


@dataclass(frozen=True)
class Windows:
    """The windows of a model's layers; ``period`` is 0 if every layer attends to all tokens."""

    period: int = 0

    @classmethod
    def of(cls, file: GgufFile) -> "Windows":
        """The windows of a model."""
        if file.architecture != "gemma3" or not file.value(f"gemma3.{_WINDOW}", 0):
            return cls()
        return cls(file.value(f"gemma3.{PERIOD}", _GEMMA3))

    def of_stage(self, layers: range) -> int | None:
        """The period of a stage that has ``layers`` of the model, 0 if all have windows; None if there is no such.

        llama.cpp needs at least one layer with a window.
        """
        windowed = [self._windowed(layer, self.period) for layer in layers]
        fitting = (
            period
            for period in (0, *range(2, len(layers) + self.period + 1))
            if windowed == [self._windowed(number, period) for number in range(len(layers))]
        )
        return next(fitting, None)

    def allow(self, layers: range) -> bool:
        """Whether a stage can have ``layers``."""
        return self.period == 0 or self.of_stage(layers) is not None

    @staticmethod
    def _windowed(layer: int, period: int) -> bool:
        return period == 0 or layer % period < period - 1


EVERYWHERE: Final = Windows()
"""Every layer attends to all tokens."""


def refused_layers(layers: range) -> str:
    """Why a stage cannot have ``layers``."""
    return (
        f"layers {layers[0]}-{layers[-1]} cannot be a stage: which layers have a sliding window repeats in a pattern "
        "that no stage with these layers has; begin a stage elsewhere"
    )
