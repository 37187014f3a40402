"""One seed a run, split per subsystem, so that one more draw in one place shifts no other."""

import random


def stream(seed: int, *names: object) -> random.Random:
    """A generator of its own for the subsystem called ``names``, the same in every process and Python version.

    A string seed goes through SHA-512 (documented for ``random.seed``, version 2), not through the salted ``hash``.
    """
    return random.Random("/".join(map(str, (seed, *names))))
