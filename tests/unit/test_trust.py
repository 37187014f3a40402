"""Trust: whose ballots are checked, what checked answers earn, who is excluded, and what lies came to."""

import asyncio
from typing import Any

import pytest
from participants import Made, answer_of, in_turn

from testbed.analysis.measurements import Measurements
from testbed.patterns.horizontal.trust import trust_in
from testbed.patterns.participant import Claim, Prompt, Record
from testbed.patterns.vote import Vote
from testbed.record.answer_checks import Checks
from testbed.record.opinions import attacks
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.before_comma import BeforeComma

TIED = in_turn(a=["7, unsure"], b=["8, sure"], c=["9, sure"], d=["6, unsure"])
ZOO = BeforeComma(scorer="before-comma")


def _vote(check: str = "100%") -> Vote:
    return Vote.model_validate({"kind": "vote", "weigh": "trust", "check": check})


@pytest.mark.parametrize(
    ("right", "wrong", "trust"),
    [(0, 0, 1 / 2), (3, 1, 4 / 6), (0, 3, 1 / 5), (0, 4, 0), (1, 6, 0), (2, 5, 3 / 9)],
)
def test_trust_is_the_mean_of_a_beta_posterior_and_none_below_a_coin(right: float, wrong: float, trust: float) -> None:
    """P(p > ½) is (½)^(w+1) with nothing right: 1/16 after three wrong, 1/32 after four; 0.145 for 2 and 5."""
    assert trust_in(Record(right, wrong)) == pytest.approx(trust)


def test_the_more_trusted_of_two_sure_members_wins_and_the_excluded_one_counts_for_nothing() -> None:
    assert answer_of(_vote(), Made(TIED)) == "8, sure"  # equal trust: the earliest
    doubted = Made(TIED, records={"b": Record(0, 1)})
    assert (answer_of(_vote(), doubted), doubted.excluded) == ("9, sure", [[]])
    out = Made(TIED, records={"b": Record(0, 9), "c": Record(0, 9)})
    assert (answer_of(_vote(), out), out.excluded) == ("7, unsure", [["b", "c"]])


def test_each_member_claims_as_much_as_it_was_sure_of_whatever_it_is_trusted() -> None:
    owner = Made(TIED, records={"b": Record(0, 9)})
    answer_of(_vote(), owner)
    ((*claims,),) = owner.checked
    assert claims == [
        Claim("a", "7, unsure", 1 / 6),
        Claim("b", "8, sure", 1.0),
        Claim("c", "9, sure", 1.0),
        Claim("d", "6, unsure", 1 / 6),
    ]


def test_the_share_of_prompts_that_are_checked() -> None:
    owner, vote = Made(TIED), _vote("25%")
    for number in range(1000):
        asyncio.run(vote.answer(Prompt(f"p{number}", "Why?"), owner))
    assert len(owner.checked) == pytest.approx(250, abs=50)  # 3.6 standard deviations
    counting = Made(TIED)
    answer_of(Vote.model_validate({"kind": "vote", "check": "100%"}), counting)
    assert (counting.checked, counting.excluded) == ([], [])


class _Recording:
    """What checks need of a recording."""

    def __init__(self) -> None:
        self.questions = {"p1": Question("7 plus 1?", "8"), "p2": Question("Why?", None)}
        self.followers: list[Any] = []
        self.emitted: list[dict[str, Any]] = []

    def emit(self, event: str, **fields: Any) -> None:
        self.emitted.append({"event": event, **fields})


def test_the_run_judges_and_tells_records_but_no_truth() -> None:
    recording = _Recording()
    checks = Checks(recording, ZOO)  # type: ignore[arg-type]
    told: asyncio.Queue[dict[str, Record]] = asyncio.Queue()

    class Asker:
        async def note(self, records: dict[str, Record]) -> None:
            await told.put(dict(records))

    class Hanging:
        async def note(self, records: dict[str, Record]) -> None:
            del records
            await asyncio.Event().wait()

    async def play() -> dict[str, Record]:
        serving = asyncio.create_task(checks.serve([Hanging(), Asker()]))  # type: ignore[list-item]
        claims = [{"by": "b", "text": "8, unsure", "weight": 0.25}, {"by": "c", "text": "9, sure", "weight": 1.0}]
        for event in (
            {"event": "answer", "prompt": "p1", "text": "9, sure"},
            {"event": "check", "prompt": "p1", "claims": claims},
            {"event": "check", "prompt": "p2", "claims": claims},
            {"event": "check", "prompt": "nobody's", "claims": claims},
            {"event": "check", "prompt": "p1", "claims": claims[1:]},
        ):
            recording.followers[0](event)
        async with asyncio.timeout(30):
            while (found := await told.get()).get("c") != Record(0.0, 2.0):
                pass
        serving.cancel()
        return found

    assert asyncio.run(play()) == {"b": Record(0.25, 0.0), "c": Record(0.0, 2.0)}
    verdicts = [(event["prompt"], event["by"], event["value"]) for event in recording.emitted]
    assert verdicts == [("p1", "b", 1.0), ("p1", "c", 0.0), ("p2", "b", None), ("p2", "c", None), ("p1", "c", 0.0)]


# --- metrics ----------------------------------------------------------------------------------------------------------


def _event(t: float, node: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"t": t, "node": node, "event": kind, **fields}


def _asked(name: str, t: float, answer: str | None = None, **lies: str) -> list[dict[str, Any]]:
    """A prompt of node a, about which some nodes lie."""
    told = [_event(t + 1, node, "misbehaved", job="", prompt=name, how="lie", text=text) for node, text in lies.items()]
    end = [] if answer is None else [_event(t + 2, "a", "answer", prompt=name, text=answer)]
    arrived = _event(t, "a", "arrival", prompt=name)
    return [_event(t, "", "prompt", prompt=name, owner="a", text="?", truth="1"), arrived, *told, *end]


def _metrics(events: list[dict[str, Any]]) -> dict[str, float | None]:
    events = sorted([*events, *attacks(events, ZOO)], key=lambda event: event["t"])
    found = Measurements([_event(-1.0, "a", "ready"), *events], {}).metrics()
    return {name: value for name, value in found.items() if name == "asr" or name.startswith("exclusion.")}


LIED = [
    *_asked("p1", 0, "2, sure", d="2, sure"),  # succeeded
    *_asked("p2", 10, "1, sure", c="3, sure", d="2, sure"),
    *_asked("p3", 20, "1, sure", d="2, sure"),
    *_asked("p4", 30, "2, sure"),  # nobody lied: wrong, and no success
    *_asked("p5", 40, None, d="2, sure"),  # no answer
]


def test_lies_that_became_answers() -> None:
    found = _metrics(LIED)
    assert found.pop("asr") == pytest.approx(1 / 3)
    assert set(found.values()) == {None}


def test_liars_that_were_excluded() -> None:
    """d is excluded from p3 and p5 of the four that it lied about, honest b from p4; c never is."""
    out = [
        _event(21.5, "a", "excluded", prompt="p3", nodes=["d"]),
        _event(31.5, "a", "excluded", prompt="p4", nodes=["b"]),
        _event(41.5, "a", "excluded", prompt="p5", nodes=["d"]),
    ]
    found = _metrics([*LIED, *out])
    assert found["exclusion.precision"] == pytest.approx(2 / 3)
    assert found["exclusion.recall"] == pytest.approx(2 / 5)
    assert (found["exclusion.time"], found["exclusion.prompts"]) == (None, None)
    found = _metrics([*LIED, *out, _event(45.0, "a", "excluded", prompt="p5", nodes=["c"])])
    assert (found["exclusion.time"], found["exclusion.prompts"]) == (34.0, 3)  # c: p3, p4 and p5 came after 11 s


def test_a_run_without_lies_has_none_of_these_numbers() -> None:
    assert set(_metrics(_asked("p1", 0, "2, sure")).values()) == {None}
