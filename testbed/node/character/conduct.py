"""What a node says in place of what its model wrote.

    model ─► completion ─► lie ─► inject ─► … ─► own pattern, other nodes        in the order in which the faults began

The model computes the answer that it would give, so that a liar takes as long as an honest node. What it says instead
is an event `misbehaved`.
"""

import random
import string
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from testbed.core import seeds
from testbed.node.character.traits import Answering, AnyTrait, Garbling, Injecting, Lying, Resending
from testbed.node.config import NodeConfig
from testbed.node.event_log import EventWriter
from testbed.patterns.participant import Completion, LogProbabilities

_CERTAIN: Final = LogProbabilities(0.0, 0.0, 0.0, 0.0, 0.0)
"""What a liar says of its tokens' probabilities: each is 1."""

_KEPT: Final = 32
"""Answers that a node remembers, to send one again."""


def honest() -> Sequence[AnyTrait]:
    """The traits of a node that no fault changes: none."""
    return ()


class Conduct:
    """What the node called ``config.name`` does with its own model's answers, by the ``traits`` that it has then."""

    def __init__(self, config: NodeConfig, log: EventWriter, traits: Callable[[], Sequence[AnyTrait]] = honest) -> None:
        self._config = config
        self._log = log
        self._traits = traits
        self._earlier: deque[Completion] = deque(maxlen=_KEPT)

    def misbehaving(self, job: str, prompt: str) -> Sequence[Answering]:
        """The traits that change the answer to ``job``, which serves ``prompt``; equal jobs have equal ones."""
        answering = (trait for trait in self._traits() if isinstance(trait, Answering))
        return [trait for trait in answering if self._chance(trait, job, prompt).random() < trait.share]

    def said(
        self, completion: Completion, traits: Sequence[Answering], job: str, origin: Mapping[str, str]
    ) -> Completion:
        """What the node says of what its model wrote."""
        said, prompt = completion, origin.get("prompt", "")
        for trait in traits:
            changed = self._changed(said, trait, job, prompt)
            if changed is not said:
                self._log.emit("misbehaved", job=job, **_of(prompt), how=trait.kind, text=changed.text)
            said = changed
        self._earlier.append(completion)
        return said

    def _changed(self, completion: Completion, trait: AnyTrait | Answering, job: str, prompt: str) -> Completion:
        chance = seeds.stream(self._config.seed, "misbehaviour", job)
        match trait:
            case Lying(group=group):
                decoy = _decoy(self._config.decoys.get(group, {}), prompt)
                return completion if decoy is None else replace(completion, text=decoy, logprobs=_CERTAIN)
            case Garbling():
                return replace(completion, text=_garbled(completion.text, chance))
            case Injecting(text=text):
                return replace(completion, text=f"{completion.text}\n{text}")
            case Resending() if self._earlier:
                return chance.choice(self._earlier)
            case _:
                return completion

    def _chance(self, trait: Answering, job: str, prompt: str) -> random.Random:
        """Liars of one group lie about the same prompts."""
        subject = (trait.group, prompt) if isinstance(trait, Lying) and prompt else (job,)
        return seeds.stream(self._config.seed, "share", type(trait).__name__, *subject)


def _of(prompt: str) -> dict[str, str]:
    return {"prompt": prompt} if prompt else {}


def _decoy(decoys: Mapping[str, str], prompt: str) -> str | None:
    """The decoy of a prompt; a later turn of a conversation, ``p7-2``, has that of the first."""
    return decoys.get(prompt, decoys.get(prompt.partition("-")[0]))


def _garbled(text: str, chance: random.Random) -> str:
    letters = string.ascii_lowercase + string.digits
    return "".join(chance.choice(letters) if letter.isalnum() else letter for letter in text)
