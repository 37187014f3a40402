"""The throughput of a ring in steady state, while all its places are occupied."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

import numpy as np

from pipeline_table.standing import Played, Standing

_FEWEST: Final = 8  # batches of the last stage that a rate needs


@dataclass(frozen=True)
class Decoding:
    """Tokens per second, bytes on all links for each token, and mean seconds of a batch by stage."""

    rate: float
    bytes_per_token: float
    stages: Sequence[float]


def prompts(count: int) -> list[str]:
    """Short, distinct prompts."""
    return [f"Sample {number}" for number in range(count)]


def decode(standing: Standing, samples: int, tokens: int, places: int | None = None) -> Decoding:
    """Let a ring write the tokens of all samples, ``places`` of them at once, and measure the steady state."""
    played = standing.play(prompts(samples), tokens)
    return in_steady_state(played, standing.names, min(samples, places or samples))


def in_steady_state(played: Played, names: Sequence[str], at_once: int) -> Decoding:
    """From when the last sample of those at work has its first token until the first one ends.

    A token counts when the last stage has computed it. The first batch begins the time and is not counted itself.
    """
    begin, end = played.times("first_token")[at_once - 1], played.times("end")[0]
    batches = {name: [event for event in played.computed(name) if begin <= event["t"] <= end] for name in names}
    last = batches[names[-1]]
    if len(last) < _FEWEST:
        raise RuntimeError(f"{at_once} samples were written at once for {len(last)} batches only; let them be longer")
    tokens = sum(event["rows"] for event in last[1:])
    edges = [last[0]["t"], last[-1]["t"]]
    carried = np.diff(np.interp(edges, [t for t, _ in played.carried], [size for _, size in played.carried]))[0]
    stages = [fmean(event["seconds"] for event in batches[name]) for name in names]
    return Decoding(tokens / (edges[1] - edges[0]), float(carried) / tokens, stages)
