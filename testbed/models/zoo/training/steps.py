"""The training loop: a stage improves weights with a stream of lessons.

The loss covers answers only. Lessons of similar length share a batch, which keeps padding small. Stages are counted in
steps and not in seconds, so equal seeds give equal lessons on every host.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from testbed.models.zoo.training.muon import Optimizer
from testbed.models.zoo.training.panels import Lesson
from testbed.models.zoo.training.tokenizer import PAD_ID, encode_answer, encode_prompt
from testbed.models.zoo.training.transformer import Network, Weights

_LESSONS_SORTED_AT_ONCE = 3000
_WARM_UP_STEPS = 50
_DECAY_SHARE = 0.7
_STEPS_BETWEEN_REPORTS = 50
_IGNORED = -100
"""The target of tokens without loss."""


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """One run of the optimizer. `name` seeds the lessons and names the checkpoint."""

    name: str
    steps: int
    batch_tokens: int = 4096
    """About how many tokens a batch holds, padding included."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B×T tokens and their targets: the next token, or `_IGNORED`."""

    tokens: Tensor
    targets: Tensor


_Encoded = tuple[list[int], list[int]]


def _pad_together(lessons: Sequence[_Encoded]) -> Batch:
    length = max(len(prompt) + len(answer) for prompt, answer in lessons)
    tokens = torch.full((len(lessons), length), PAD_ID)
    targets = torch.full((len(lessons), length), _IGNORED)
    for row, (prompt, answer) in enumerate(lessons):
        end = len(prompt) + len(answer)
        tokens[row, :end] = torch.tensor(prompt + answer)
        targets[row, len(prompt) - 1 : end - 1] = torch.tensor(answer)
    return Batch(tokens, targets)


def _fill(lessons: Sequence[_Encoded], batch_tokens: int) -> Iterator[Batch]:
    """Split lessons that are sorted by length into batches of about `batch_tokens`."""
    start = 0
    while start < len(lessons):
        count = max(1, batch_tokens // sum(map(len, lessons[start])))
        yield _pad_together(lessons[start : start + count])
        start += count


def _batches(tokenizer: Tokenizer, stage: TrainingStage, lesson: Callable[[random.Random], Lesson]) -> Iterator[Batch]:
    rng = random.Random(stage.name)
    while True:
        lessons = [lesson(rng) for _ in range(_LESSONS_SORTED_AT_ONCE)]
        encoded = [(encode_prompt(tokenizer, one.prompt), encode_answer(tokenizer, one.answer)) for one in lessons]
        batches = list(_fill(sorted(encoded, key=lambda pair: len(pair[0]) + len(pair[1])), stage.batch_tokens))
        rng.shuffle(batches)
        yield from batches


def _loss(network: Network, batch: Batch) -> Tensor:
    answered = batch.targets != _IGNORED
    logits = network.logits(network.states(batch.tokens)[answered])
    return functional.cross_entropy(logits, batch.targets[answered])


def _rate(step: int, steps: int) -> float:
    """The learning rate's factor at a step: warm-up, constant, then linear decay to 0."""
    return min(1.0, (step + 1) / _WARM_UP_STEPS, (1 - step / steps) / _DECAY_SHARE)


def train(
    network: Network,
    tokenizer: Tokenizer,
    stage: TrainingStage,
    lesson: Callable[[random.Random], Lesson],
    report: Callable[[str], None],
) -> None:
    """Train the network's weights in place. `report` gets a line on the loss from time to time."""
    for weight in network.weights.values():
        weight.requires_grad_(True)
    optimizer = Optimizer(network.weights)
    batches = _batches(tokenizer, stage, lesson)
    smoothed = 0.0
    for step in range(stage.steps):
        loss = _loss(network, next(batches))
        torch.autograd.backward(loss)
        optimizer.step(_rate(step, stage.steps))
        smoothed = loss.item() if step == 0 else 0.98 * smoothed + 0.02 * loss.item()
        if (step + 1) % _STEPS_BETWEEN_REPORTS == 0:
            report(f"{stage.name}: step {step + 1}/{stage.steps}, loss {smoothed:.3f}")
    for weight in network.weights.values():
        weight.requires_grad_(False)


def save_weights(weights: Weights, path: Path) -> None:
    """Write a checkpoint. It is renamed into place when complete, so a checkpoint that exists is complete."""
    partial = path.with_suffix(".partial")
    torch.save(weights, partial)
    partial.rename(path)


def load_weights(path: Path) -> Weights:
    """The weights in a checkpoint."""
    weights: Weights = torch.load(path, weights_only=True)
    return weights
