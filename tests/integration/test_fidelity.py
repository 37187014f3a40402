"""Fidelity, measured on real links and a real host."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conformance import EARLY, undisturbed
from observed import GOSSIP, FinishedRun
from probing import ProbeSuite

from testbed.world.network.links.userspace import USERSPACE

pytestmark = pytest.mark.measures

Run = Callable[..., FinishedRun]

SHORT = ("--set", "workload.count=8", "--set", "workload.arrivals.rate=1/s")


class TestProbeOnUserspaceLinks(ProbeSuite):
    backend = USERSPACE


def test_a_run_has_all_figures_of_its_fidelity_and_on_an_idle_host_it_is_valid(run: Run) -> None:
    def check() -> None:
        fidelity = run(GOSSIP, *SHORT).summary["fidelity"]
        assert (fidelity["verdict"] == "valid") == (fidelity["reasons"] == [])
        assert set(fidelity["links"]) == {"a-s1", "b-s1", "c-s1", "d-s1"}
        for link in fidelity["links"].values():
            assert link["rtt"]["asked"] == pytest.approx(0.0201, rel=0.01)
            for moment in ("before", "after"):
                assert link["rtt"][moment] >= link["rtt"]["asked"] - 2 * EARLY / 1e3
                assert 0 < link["up"][moment]["rate"] <= 1.05 * 10e6
        host = fidelity["host"]
        assert set(host["throttled"]) == set("abcd")
        assert 0 <= host["idle_least"] <= host["idle"] < 1
        if host["idle_least"] > 0.3 and host["stolen"] < 0.01:  # as recorded during play
            assert fidelity["verdict"] == "valid", fidelity["reasons"]

    undisturbed(check)


def test_a_busy_host_is_named_as_a_reason_not_to_trust_a_run(run: Run) -> None:
    with _busy_loops(os.cpu_count() or 1):
        finished = run(GOSSIP, *SHORT)
    assert finished.summary["fidelity"]["verdict"] != "valid"
    assert any(reason.startswith("the host had less than") for reason in finished.summary["fidelity"]["reasons"])


def test_without_measuring_a_run_says_so(run: Run) -> None:
    finished = run(GOSSIP, *SHORT, "--fidelity", "off", "--set", "expect={}")
    assert finished.summary["fidelity"]["verdict"] == "unmeasured"
    assert finished.exit_code == 0


@contextmanager
def _busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
