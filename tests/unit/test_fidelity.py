"""The verdict on an emulation, from what was found."""

import pytest

from testbed.analysis.verdict.fidelity import Fidelity, Flaw, Verdict

LATE = Flaw("distorted", "link a-s1 up: delay asked 10.0 ms, measured 13.2 ms")
GONE = Flaw("invalid", "the relay of the links ended")


@pytest.mark.parametrize(
    ("fidelity", "verdict"),
    [
        (Fidelity(), "unmeasured"),
        (Fidelity("quick"), "unmeasured"),  # interrupted before anything was measured
        (Fidelity("quick", links={}), "valid"),
        (Fidelity("quick", [LATE], links={}), "distorted"),
        (Fidelity("quick", [LATE, GONE], links={}), "invalid"),
        (Fidelity("quick", [GONE, LATE], links={}), "invalid"),
        (Fidelity("off", [GONE]), "invalid"),
    ],
)
def test_the_worst_finding_is_the_verdict(fidelity: Fidelity, verdict: Verdict) -> None:
    assert fidelity.verdict == verdict


def test_the_worst_reason_comes_first_and_each_once() -> None:
    assert Fidelity("quick", [LATE, GONE, LATE]).reasons == [GONE.reason, LATE.reason]


def test_the_summary_gets_verdict_reasons_and_figures() -> None:
    figures = {"a-s1": {"rtt": {"asked": 0.02}}}
    assert Fidelity("full", [LATE], figures, {"idle": 0.5}, {"failure": None}).as_dict() == {
        "verdict": "distorted",
        "reasons": [LATE.reason],
        "mode": "full",
        "links": figures,
        "host": {"idle": 0.5},
        "health": {"failure": None},
    }
