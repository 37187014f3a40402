"""Texts without meaning, as long as the arrivals say."""

from collections.abc import Iterable, Sequence
from typing import Final

from testbed.core import seeds
from testbed.workload.arrivals.base import Lengths
from testbed.workload.prompts.base import Question, SizedSource

_FIRST: Final = "is"
_WORDS: Final = ("the", "of", "and", "to", "in", "a", "is", "it", "be", "by", "are", "from", "which", "one", "what")
"""One token each, behind a space, in the zoo's vocabulary and in those of real models; the first also without one."""


class Filler(SizedSource):
    """Texts without meaning, with as many words as the trace has tokens; models write as many tokens as it says.

    No answer is right or wrong.
    """

    def sized(self, lengths: Iterable[Lengths], seed: int) -> Sequence[Question]:
        """A text of random words for each of the ``lengths``. A longer list begins with the same texts."""
        generator = seeds.stream(seed, "filler")
        return [
            Question(" ".join([_FIRST, *generator.choices(_WORDS, k=length.input - 1)]), None, tokens=length.output)
            for length in lengths
        ]
