"""Random streams: each subsystem of a run has its own, so that a draw in one does not change another."""

import random


def stream(seed: int, *names: object) -> random.Random:
    """The generator of the subsystem called ``names``, equal in every process and Python version.

    A string seed is hashed with SHA-512 (``random.seed``, version 2), not with the salted ``hash``.
    """
    return random.Random("/".join(map(str, (seed, *names))))
