"""The emulation measured on real links and a real host."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

import pytest
from conformance import Laboratory, make_namespace
from observed import GOSSIP, FinishedRun
from pyroute2 import IPRoute

from testbed.emulation.journal import Journal
from testbed.emulation.links.backend import End
from testbed.emulation.plan import choose_backend
from testbed.emulation.probe import ETHERTYPE, QUICK, SMALL_FRAME, measure
from testbed.results.links import judge_links
from testbed.spec.link import Direction, Link

Run = Callable[..., FinishedRun]

UP, DOWN = Direction(bandwidth=10e6, delay=0.010), Direction(bandwidth=5e6, delay=0.030)
SHORT = ("--set", "workload.count=8", "--set", "workload.arrivals.rate=1/s")


@pytest.fixture
def laboratory() -> Iterator[Laboratory]:
    """Two hosts on a bridge, behind links that are ``UP`` towards it and ``DOWN`` from it."""
    journal = Journal.begin()
    try:
        switch = make_namespace(journal)
        with switch.entered(), IPRoute() as ip:
            links = choose_backend(None).open(journal)
            ip.link("add", ifname="s1", kind="bridge", br_mcast_snooping=0, state="up")
        laboratory = Laboratory(journal, links, switch)
        for host in ("a", "b"):
            laboratory.add_host(host, UP, DOWN)
        yield laboratory
    finally:
        journal.undo()


def _ends(laboratory: Laboratory, up: Direction = UP, down: Direction = DOWN) -> dict[Link, tuple[End, End]]:
    """The laboratory's links, with what is claimed to have been asked of them."""
    return {
        Link(host, "s1", up, down): (End("eth0", namespace), End(f"s1-eth{number}", laboratory.switch))
        for number, (host, namespace) in enumerate(laboratory.hosts.items(), 1)
    }


def test_both_directions_of_a_link_are_measured_as_they_were_made(laboratory: Laboratory) -> None:
    seen = measure(_ends(laboratory), QUICK)
    for ways in seen.values():
        for way, made in (("up", UP), ("down", DOWN)):
            observation = ways[way]
            assert made.bandwidth
            expected = made.delay + SMALL_FRAME * 8 / made.bandwidth
            assert expected <= median(observation.delays) <= expected + 0.001
            assert observation.rates == pytest.approx([made.bandwidth], rel=0.03)
            assert observation.received == observation.sent
    assert list(judge_links(seen, "now")) == []


def test_what_measures_one_link_crosses_no_other(laboratory: Laboratory) -> None:
    _, (link, ends) = _ends(laboratory).items()
    with laboratory.hosts["a"].entered():
        elsewhere = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    with elsewhere:
        assert measure({link: ends}, QUICK)[link]["up"].received > 0
        with pytest.raises(BlockingIOError):
            elsewhere.recv(2048, socket.MSG_DONTWAIT)


@pytest.mark.parametrize(
    ("up", "reason"),
    [
        (replace(UP, delay=0.030), "link a-s1 up: delay asked 30.0 ms, measured 10."),
        (replace(UP, bandwidth=8e6), "link a-s1 up: rate asked 8 mbit, measured 10 mbit"),
    ],
)
def test_a_link_that_is_not_what_it_is_said_to_be_is_found(laboratory: Laboratory, up: Direction, reason: str) -> None:
    (finding, *others) = judge_links(measure(_ends(laboratory, up), QUICK), "now")
    assert finding.reason.startswith(reason)
    assert [other.reason.split(":")[0] for other in others] == ["link b-s1 up"]


def test_an_interface_that_is_gone_is_an_error(laboratory: Laboratory) -> None:
    gone = {Link("a", "s1", UP, DOWN): (End("eth0", laboratory.hosts["a"]), End("s1-eth9", laboratory.switch))}
    with pytest.raises(OSError, match="No such device"):
        measure(gone, QUICK)


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
