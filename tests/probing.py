"""What measuring links must find out, whatever they are made of. A lane subclasses this for each backend it can run."""

import socket
from dataclasses import replace
from statistics import median

import pytest
from conformance import Laboratory, LinkConformance

from testbed.emulation.links.backend import End, LinkBackend
from testbed.emulation.probe import ETHERTYPE, QUICK, SMALL_FRAME, measure
from testbed.results.links import judge_links
from testbed.spec.link import Direction, Link

UP, DOWN = Direction(bandwidth=10e6, delay=0.010), Direction(bandwidth=5e6, delay=0.030)


class ProbeSuite:
    """The suite, on links that are ``UP`` towards a bridge and ``DOWN`` from it; ``backend`` is what makes them."""

    backend: LinkBackend
    laboratory = LinkConformance.laboratory

    @pytest.fixture(autouse=True)
    def hosts(self, laboratory: Laboratory) -> None:
        for host in ("a", "b"):
            laboratory.add_host(host, UP, DOWN)

    def test_both_directions_are_measured_as_they_were_made(self, laboratory: Laboratory) -> None:
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

    def test_what_measures_one_link_crosses_no_other(self, laboratory: Laboratory) -> None:
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
    def test_a_link_that_is_not_what_it_is_said_to_be_is_found(
        self, laboratory: Laboratory, up: Direction, reason: str
    ) -> None:
        finding, *others = judge_links(measure(_ends(laboratory, up), QUICK), "now")
        assert finding.reason.startswith(reason)
        assert [other.reason.split(":")[0] for other in others] == ["link b-s1 up"]

    def test_an_interface_that_is_gone_is_an_error(self, laboratory: Laboratory) -> None:
        gone = {Link("a", "s1", UP, DOWN): (End("eth0", laboratory.hosts["a"]), End("s1-eth9", laboratory.switch))}
        with pytest.raises(OSError, match="No such device"):
            measure(gone, QUICK)


def _ends(laboratory: Laboratory, up: Direction = UP) -> dict[Link, tuple[End, End]]:
    """The laboratory's links, of which ``up`` is claimed to have been asked."""
    return {
        Link(host, "s1", up, DOWN): (End("eth0", namespace), End(f"s1-eth{number}", laboratory.switch))
        for number, (host, namespace) in enumerate(laboratory.hosts.items(), 1)
    }
