"""The bytes of a token on a hop, by interface counters, and the effect of shorter activations on answers.

The ring has three nodes, a model of the zoo, whose answers have meaning, and one sample in flight, so that every token
has a frame of its own. Counted are the bytes and packets that the first node sends to the second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from llama_cpp import Llama

from pipeline_table.standing import Setup, standing
from testbed.models import zoo
from testbed.node.ring.wire.activations import ENCODINGS
from testbed.workload.prompts.worldfacts import held_out

ACTIVATIONS: Final = ("f32", "f16", "q8_0")

_MODEL: Final = "alpha"
_WIDTH: Final = 192
_PROMPTS: Final = 24
_LONGEST: Final = 24


@dataclass(frozen=True)
class HopResult:
    """Bytes a token on the first hop: its hidden ``row``, what else the frames hold, and the headers of the packets.

    ``same`` is the share of the tokens that are those of `f32`, at their places.
    """

    activations: str
    row: int
    frame: float
    headers: float
    answers: list[str]
    same: float


def measure(quick: bool) -> Iterator[HopResult]:
    """The results, with a world for each encoding."""
    questions = [question.text for question in held_out(_PROMPTS // (2 if quick else 1), seed=7)]
    exact: Sequence[str] | None = None
    for activations in ACTIVATIONS:
        setup = Setup.ring(3, {"schedule": "sequential", "activations": activations})
        with standing(replace(setup, model=f"zoo/{_MODEL}")) as world:
            before = world.sent("a", "b")
            played = world.play(questions, _LONGEST)
            sent = world.sent("a", "b").since(before)
        exact = exact or played.answers
        rows = sum(event["rows"] for event in played.computed("b"))
        row = ENCODINGS[activations].row_bytes(_WIDTH)
        yield HopResult(
            activations,
            row,
            (sent.size - sent.headers) / rows - row,
            sent.headers / rows,
            list(played.answers),
            _agreement(exact, played.answers),
        )


def _agreement(exact: Sequence[str], others: Sequence[str]) -> float:
    """The share of equal tokens, from 0 to 1."""
    tokenizer = Llama(str(zoo.path(_MODEL)), vocab_only=True, verbose=False)
    pairs = [
        [tokenizer.tokenize(text.encode(), add_bos=False) for text in pair] for pair in zip(exact, others, strict=True)
    ]
    same = sum(sum(one == other for one, other in zip(*pair, strict=False)) for pair in pairs)
    return same / sum(max(map(len, pair)) for pair in pairs)
