"""The arrivals of a run: which prompt reaches which node, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from testbed.workload.arrivals.base import ArrivalProcess
from testbed.workload.prompts.base import PromptSource, Question, SizedSource


@dataclass(frozen=True)
class Arrival:
    """An arrival at ``node``. ``prompt`` is its name: ``p1``.

    It comes ``at`` seconds after the beginning of play, or so long after the end of the earlier prompt ``after``.
    """

    at: float
    node: str
    prompt: str
    question: Question
    after: str | None = None


def schedule(
    prompts: PromptSource,
    arrivals: ArrivalProcess,
    count: int,
    owners: Sequence[str],
    seed: int,
    by_label: Mapping[str, str] = MappingProxyType({}),
) -> list[Arrival]:
    """The first ``count`` arrivals over all ``owners``, in order.

    ``by_label`` has the node at which questions of a label arrive, whatever node the arrival process meant.
    """
    slots = islice(arrivals.slots(owners, seed), count)
    if isinstance(prompts, SizedSource):
        questions = prompts.sized(islice(arrivals.lengths(), count), seed)
    else:
        questions = prompts.questions(count, seed)
    return [
        Arrival(
            slot.at,
            by_label.get(question.label, slot.node),
            _name(number),
            question,
            None if slot.after is None else _name(slot.after),
        )
        for number, (slot, question) in enumerate(zip(slots, questions, strict=True))
    ]


def _name(number: int) -> str:
    return f"p{number + 1}"
