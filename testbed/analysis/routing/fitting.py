"""Fitting a router: logistic regression on the features of prompts, with a penalty that cross-validation chooses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from testbed.analysis.routing.examples import Example
from testbed.core import seeds
from testbed.patterns.vertical.routers.features import (
    OF_ANSWER,
    OF_PROMPT,
    Number,
    hashed_words,
    numbers_of_answer,
    numbers_of_prompt,
)
from testbed.patterns.vertical.routers.router import Router, ScaledWeight, fingerprint

Features = Literal["prompt", "answer", "length"]
"""What a router reads: the prompt; the prompt and the weak stage's answer; the prompt's length alone."""

BUCKETS: Final = 4096

_Array = NDArray[np.float64]

_NUMBERS: Final[dict[Features, tuple[Number, ...]]] = {
    "prompt": OF_PROMPT,
    "answer": (*OF_PROMPT, *OF_ANSWER),
    "length": ("length",),
}
_PENALTIES: Final = (0.01, 0.1, 1.0, 10.0)
_FOLDS: Final = 5
_BASE: Final = 10.0  # the value of the constant feature: large, so that the penalty hardly holds the intercept
_STEPS: Final = 50
_CLOSE: Final = 1e-6  # of logits, after which another step changes nothing
_DECIMALS: Final = 6
_LEAST_CURVATURE: Final = 1e-6


def fit(known: Sequence[Example], features: Features, seed: int) -> Router:
    """The router of ``known``, of which some must have a gain and some none, at least ``5`` in all.

    ``seed`` draws the hash and the folds.
    """
    table = _Table.of(known, features, seed)
    gains = np.array([float(example.gain) for example in known])
    folds = np.array(seeds.stream(seed, "folds").sample([index % _FOLDS for index in range(len(known))], len(known)))
    held_out = {penalty: _held_out_scores(table.rows, gains, folds, penalty) for penalty in _PENALTIES}
    penalty = min(_PENALTIES, key=lambda one: _log_loss(held_out[one], gains))
    weights = _regression(table.rows, gains, penalty)
    return table.router(
        weights, np.round(np.sort(held_out[penalty]), _DECIMALS).tolist(), [fingerprint(one.text) for one in known]
    )


@dataclass(frozen=True)
class _Table:
    """The features of prompts, a row for each: hashed words by ``buckets``, scaled ``numbers``, and a constant."""

    rows: _Array
    buckets: Sequence[int]
    numbers: Sequence[Number]
    means: _Array
    scales: _Array
    seed: int

    @classmethod
    def of(cls, known: Sequence[Example], features: Features, seed: int) -> "_Table":
        names = _NUMBERS[features]
        words = [{} if features == "length" else hashed_words(one.text, BUCKETS, seed) for one in known]
        buckets = sorted({bucket for row in words for bucket in row})
        hashed = np.array([[row.get(bucket, 0.0) for bucket in buckets] for row in words]).reshape(len(known), -1)
        numbers = np.array([[_numbers(one, features)[name] for name in names] for one in known])
        means, scales = numbers.mean(axis=0), numbers.std(axis=0)
        scales[scales == 0] = 1.0
        rows = np.hstack([hashed, (numbers - means) / scales, np.full((len(known), 1), _BASE)])
        return cls(rows, buckets, names, means, scales, seed)

    def router(self, weights: _Array, scores: list[float], fitted_on: list[str]) -> Router:
        """The router that these weights of the columns make."""
        words, numbers = weights[: len(self.buckets)], weights[len(self.buckets) : -1]
        scaled = zip(self.numbers, self.means, self.scales, numbers, strict=True)
        return Router(
            buckets=BUCKETS,
            seed=self.seed,
            intercept=float(weights[-1]) * _BASE,
            words=dict(zip(self.buckets, np.round(words, _DECIMALS).tolist(), strict=True)),
            numbers={
                name: ScaledWeight(mean=float(mean), scale=float(scale), weight=float(weight))
                for name, mean, scale, weight in scaled
            },
            scores=scores,
            fitted_on=fitted_on,
        )


def _numbers(example: Example, features: Features) -> dict[Number, float]:
    numbers = numbers_of_prompt(example.text)
    return {**numbers, **numbers_of_answer(example.answer)} if features == "answer" else numbers


def _held_out_scores(rows: _Array, gains: _Array, folds: NDArray[np.int64], penalty: float) -> _Array:
    """The score of each prompt by weights that were fitted without its fold."""
    scores = np.empty(len(gains))
    for fold in range(_FOLDS):
        inside = folds == fold
        weights = _regression(rows[~inside], gains[~inside], penalty)
        scores[inside] = _probability(rows[inside] @ weights)
    return scores


def _regression(rows: _Array, gains: _Array, penalty: float) -> _Array:
    """The weights that minimise the log loss of all rows plus ``penalty``/2 times their squared length.

    Newton's method (iteratively reweighted least squares) for one coefficient a row, since there are more columns than
    rows: the weights are ``rows.T @ coefficients``.
    """
    kernel = rows @ rows.T
    logits: _Array = np.zeros(len(gains))
    coefficients: _Array = np.zeros(len(gains))
    for _ in range(_STEPS):
        chance = _probability(logits)
        curvature = np.maximum(chance * (1 - chance), _LEAST_CURVATURE)
        target = logits + (gains - chance) / curvature
        coefficients = np.asarray(np.linalg.solve(kernel + penalty * np.diag(1 / curvature), target), np.float64)
        moved = kernel @ coefficients
        if np.abs(moved - logits).max() < _CLOSE:
            break
        logits = moved
    return rows.T @ coefficients


def _probability(logits: _Array) -> _Array:
    found: _Array = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    return found


def _log_loss(scores: _Array, gains: _Array) -> float:
    sure = np.clip(np.where(gains == 1, scores, 1 - scores), math.ulp(1), 1)
    return float(-np.log(sure).mean())
