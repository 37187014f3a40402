"""The optimizer: Muon for the matrices inside blocks, Adam for all other weights.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) replaces the momentum of a matrix by the nearest
orthogonal matrix, approximated with Newton–Schulz iterations, and steps along it. A network of this size learns several
times faster than with Adam alone.
"""

from collections import defaultdict
from math import sqrt

import torch
from torch import Tensor

from testbed.models.zoo.training.transformer import Weights, is_block_matrix

_NEWTON_SCHULZ_STEPS = 4
_NEWTON_SCHULZ_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_MUON_RATE = 0.02
_MUON_MOMENTUM = 0.95
_MUON_DECAY = 0.02
_ADAM_RATE = 3e-3
_ADAM_BETAS = (0.9, 0.98)


def orthogonalized(matrices: Tensor) -> Tensor:
    """N×rows×columns with rows ≤ columns → approximately the nearest matrices whose singular values are all 1."""
    linear, cubic, quintic = _NEWTON_SCHULZ_POLYNOMIAL
    result = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()  # fast, and exact enough here
    for _ in range(_NEWTON_SCHULZ_STEPS):
        squares = result @ result.mT
        result = linear * result + (cubic * squares + quintic * squares @ squares) @ result
    precise: Tensor = result.float()
    return precise


class Optimizer:
    """Updates all weights in place from their gradients, and clears the gradients."""

    def __init__(self, weights: Weights) -> None:
        self._matrices: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)  # of one shape, for one batched product
        others = []
        for name, weight in weights.items():
            if is_block_matrix(name):
                self._matrices[tuple(weight.shape)].append(weight)
            else:
                others.append(weight)
        self._momenta = {shape: torch.zeros(len(same), *shape) for shape, same in self._matrices.items()}
        self._adam = torch.optim.Adam(others, lr=_ADAM_RATE, betas=_ADAM_BETAS)

    def step(self, scale: float) -> None:
        """One step with all learning rates multiplied by `scale`."""
        for group in self._adam.param_groups:
            group["lr"] = scale * _ADAM_RATE
        self._adam.step()
        self._adam.zero_grad()
        with torch.no_grad():
            for shape, matrices in self._matrices.items():
                self._muon_step(matrices, self._momenta[shape], scale * _MUON_RATE)

    def _muon_step(self, matrices: list[Tensor], momentum: Tensor, rate: float) -> None:
        gradients = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
        momentum.lerp_(gradients, 1 - _MUON_MOMENTUM)
        ahead = gradients.lerp(momentum, _MUON_MOMENTUM)  # Nesterov
        rows, columns = ahead.shape[1:]
        directions = orthogonalized(ahead) if rows <= columns else orthogonalized(ahead.mT).mT
        step = rate * sqrt(max(1.0, rows / columns))
        for matrix, direction in zip(matrices, directions, strict=True):
            matrix.mul_(1 - rate * _MUON_DECAY).add_(direction, alpha=-step)
            matrix.grad = None
