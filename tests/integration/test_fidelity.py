"""The emulation measured on real links and a real host."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from observed import GOSSIP, FinishedRun
from probing import ProbeSuite

from testbed.world.network.links.userspace import USERSPACE

Run = Callable[..., FinishedRun]

SHORT = ("--set", "workload.count=8", "--set", "workload.arrivals.rate=1/s")


class TestProbeOnUserspaceLinks(ProbeSuite):
    backend = USERSPACE


def test_an_idle_host_gives_a_valid_run_with_all_its_figures(run: Run) -> None:
    fidelity = run(GOSSIP, *SHORT).summary["fidelity"]
    assert (fidelity["verdict"], fidelity["reasons"]) == ("valid", [])
    assert set(fidelity["links"]) == {"a-s1", "b-s1", "c-s1", "d-s1"}
    for link in fidelity["links"].values():
        assert link["rtt"]["asked"] == pytest.approx(0.0201, rel=0.01)
        for moment in ("before", "after"):
            assert link["rtt"][moment] == pytest.approx(link["rtt"]["asked"], abs=0.002)
            assert link["up"][moment]["rate"] == pytest.approx(10e6, rel=0.05)
    assert 0.05 < fidelity["host"]["idle"] < 1
    assert set(fidelity["host"]["throttled"]) == set("abcd")


def test_a_busy_host_is_named_as_a_reason_not_to_trust_a_run(run: Run) -> None:
    with _busy_loops(os.cpu_count() or 1):
        finished = run(GOSSIP, *SHORT)
    assert finished.summary["fidelity"]["verdict"] != "valid"
    assert any(reason.startswith("the host had less than") for reason in finished.summary["fidelity"]["reasons"])


def test_without_measuring_a_run_says_so(run: Run) -> None:
    finished = run(GOSSIP, *SHORT, "--fidelity", "off")
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
