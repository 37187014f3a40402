"""Trust that members of a panel earn by answers whose truth was checked.

    a share of prompts, drawn uniformly ─► the run judges each answer ─► record of each member, by the control path
    ballot's weight = how sure the answer is × what the member's record says

The record of a member has the weights of its right and of its wrong answers, so that a wrong answer of which it was
unsure costs it little. With a uniform prior, the mean of p ~ Beta(right + 1, wrong + 1) is the member's trust. A member
that is likely worse than a coin is excluded: its ballots weigh nothing. They are asked for and checked all the same, so
that a member that turns honest comes back.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from testbed.patterns.horizontal.ballots import Ballot, Tally, stays_ahead
from testbed.patterns.participant import Claim, Participant, Prompt, Record

EXCLUDED_BELOW: Final = 0.05
"""A member is excluded while P(p > ½) is below this: after four wrong answers of which it was sure, 1/32."""


def trust_in(record: Record) -> float:
    """The factor on the weight of a member's ballots, from 0 to 1; 1/2 of a member without checked answers."""
    if stays_ahead(record.right, record.wrong) < EXCLUDED_BELOW:
        return 0.0
    return (record.right + 1) / (record.right + record.wrong + 2)


def trusted(ballots: Sequence[Ballot], owner: Participant) -> Tally:
    """The ballots, weighed by the trust in whoever cast them."""
    return Tally([replace(ballot, weight=ballot.weight * trust_in(owner.record(ballot.by))) for ballot in ballots])


def excluded(ballots: Sequence[Ballot], owner: Participant) -> list[str]:
    """Those whose ballots weigh nothing because of their records, each once."""
    return [name for name in dict.fromkeys(ballot.by for ballot in ballots) if not trust_in(owner.record(name))]


def check(ballots: Sequence[Ballot], prompt: Prompt, owner: Participant, share: float) -> None:
    """Ask for a check of the ballots of this prompt, with the probability ``share``, whatever the prompt is about."""
    if owner.random("check", prompt.id).random() < share:
        owner.check([Claim(ballot.by, ballot.text, ballot.weight) for ballot in ballots])
