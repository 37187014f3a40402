"""A model in one piece and in stages, computed side by side in this process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from llama_cpp import Llama, llama_cpp

from testbed.models.resolution import Model
from testbed.models.split import StagePlan, split
from testbed.node.engine.front import Front
from testbed.node.engine.stage import Hidden, InnerStage, LastStage, Limits, Rows

CONTEXT = 256

AnyStage = TypeVar("AnyStage", InnerStage, LastStage)


def whole(path: Path, prompt: Sequence[int], tokens: int, chunk: int = 512) -> Hidden:
    """The logits that a model in one piece gives for the prompt's end and for each of the tokens that it then draws."""
    model = Llama(
        str(path), n_ctx=CONTEXT, n_batch=chunk, n_threads=1, n_threads_batch=1, use_mmap=False, verbose=False
    )
    drawn: list[Hidden] = []
    model.eval(prompt)
    for _ in range(tokens):
        logits = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
        drawn.append(np.ctypeslib.as_array(logits, (model.n_vocab(),)).copy())
        model.eval([int(drawn[-1].argmax())])
    model.close()
    return np.stack(drawn)


class Rings:
    """Every ring that can be made of one model; stages that several plans have in common are loaded once."""

    def __init__(self, model: Model, folder: Path, limits: Limits) -> None:
        self._model = model
        self._folder = folder
        self._limits = limits
        self._front: Front | None = None
        self._loaded: dict[Path, InnerStage | LastStage] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for part in (self._front, *self._loaded.values()):
            if part is not None:
                part.close()

    def ring(self, plan: StagePlan) -> "Ring":
        """The ring of a plan, with nothing cached."""
        files = split(self._model, plan, self._folder)
        stages = [self._load(stage.path, InnerStage) for stage in files.stages[:-1]]
        self._front = self._front or Front(files.front)
        ring = Ring(self._front, stages, self._load(files.stages[-1].path, LastStage), self._limits)
        ring.free()
        return ring

    def _load(self, path: Path, kind: type[AnyStage]) -> AnyStage:
        if path not in self._loaded:
            self._loaded[path] = kind(path, self._limits)
        stage = self._loaded[path]
        assert isinstance(stage, kind)
        return stage


@dataclass(frozen=True)
class Ring:
    """The stages of a model, one after the other; activations pass from hand to hand."""

    front: Front
    stages: Sequence[InnerStage]
    last: LastStage
    limits: Limits

    def logits(self, tokens: Sequence[int], rows: Rows, wanted: Sequence[int]) -> Hidden:
        """The logits of the ``wanted`` rows."""
        hidden = self.front.embed(tokens)
        for stage in self.stages:
            hidden = stage.forward(rows, hidden)
        return self.last.logits(rows, hidden, wanted)

    def read(self, prompt: Sequence[int], sequence: int = 0) -> Hidden:
        """The logits of the prompt's end; it is read in chunks as large as a batch may be."""
        for begin in range(0, len(prompt), self.limits.batch):
            chunk = prompt[begin : begin + self.limits.batch]
            rows = Rows([sequence] * len(chunk), range(begin, begin + len(chunk)))
            logits = self.logits(chunk, rows, [len(chunk) - 1])
        return logits[0]

    def draw(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[Hidden]:
        """For each prompt what :func:`whole` gives; they are read one by one, and what follows is drawn as a group."""
        drawn = [[self.read(prompt, sequence)] for sequence, prompt in enumerate(prompts)]
        for step in range(tokens - 1):
            rows = Rows(range(len(prompts)), [len(prompt) + step for prompt in prompts])
            latest = [int(logits[-1].argmax()) for logits in drawn]
            for sequence, logits in enumerate(self.logits(latest, rows, range(len(prompts)))):
                drawn[sequence].append(logits)
        return [np.stack(logits) for logits in drawn]

    def free(self) -> None:
        """Forget every sequence."""
        for stage in (*self.stages, self.last):
            for sequence in range(self.limits.sequences):
                stage.free(sequence)


def plans(layers: int) -> Iterator[StagePlan]:
    """Every plan for a model of so many layers."""
    for cuts in range(2 ** (layers - 1)):
        stages = [1]
        for layer in range(layers - 1):
            if cuts >> layer & 1:
                stages.append(1)
            else:
                stages[-1] += 1
        yield StagePlan(tuple(stages))
