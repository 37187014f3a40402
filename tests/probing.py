"""What the probe must find out about links. A lane subclasses the suite for each backend that it can run."""

import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from statistics import median, stdev

import pytest
from conformance import EARLY, Laboratory, LinkConformance, undisturbed

from testbed.core.clock import Clock
from testbed.record.fidelity.links import judge_links
from testbed.schema.network.direction import Direction, Jitter, Loss
from testbed.world.network.links.backend import LinkBackend, Wiring
from testbed.world.network.probe import ETHERTYPE, FULL, QUICK, SMALL_FRAME, measure

DIRECTION = Direction(bandwidth=10e6, delay=0.010)


class ProbeSuite:
    """The suite; ``backend`` is what makes the links."""

    backend: LinkBackend
    clock = LinkConformance.clock
    laboratory = LinkConformance.laboratory

    def test_both_directions_are_measured_as_they_were_made(self, laboratory: Laboratory) -> None:
        laboratory.join(DIRECTION, Direction(bandwidth=5e6, delay=0.030))

        def check() -> None:
            ((link, directions),) = measure(laboratory.links.current(), QUICK).items()
            for direction, observation in directions.items():
                made = link.direction(direction)
                assert made.bandwidth
                expected = made.delay + SMALL_FRAME * 8 / made.bandwidth
                assert expected - EARLY / 1e3 <= median(observation.delays) <= expected + 0.001
                assert observation.rates == pytest.approx([made.bandwidth], rel=0.03)
                assert observation.received == observation.sent
            assert list(judge_links({link: directions}, "now")) == []

        undisturbed(check)

    @pytest.mark.parametrize("clock", [Clock(4)])
    def test_in_a_dilated_run_a_link_is_that_much_slower_and_found_right(
        self, laboratory: Laboratory, clock: Clock
    ) -> None:
        laboratory.join(DIRECTION, Direction(bandwidth=5e6, delay=0.030))

        def check() -> None:
            seen = measure(laboratory.links.current(), QUICK, clock)
            assert list(judge_links(seen, "now")) == []
            ((link, directions),) = seen.items()
            assert link.up == DIRECTION
            asked = DIRECTION.delay + SMALL_FRAME * 8 / 10e6
            assert median(directions["up"].delays) == pytest.approx(asked, abs=0.0005)

        undisturbed(check)
        assert laboratory.round_trip("a", "b") >= 4 * (10 + 30) - EARLY

    def test_a_link_that_does_all_it_was_asked_to_is_found_right(self, laboratory: Laboratory) -> None:
        rough = Direction(20e6, 0.020, Jitter(0.004), Loss(to_bad=0.01, to_good=0.3), duplicate=0.02, reorder=0.02)
        laboratory.join(rough, replace(DIRECTION, loss=Loss(in_good=0.05), corrupt=0.01))

        def check() -> None:
            seen = measure(laboratory.links.current(), FULL)
            assert list(judge_links(seen, "now")) == []
            (directions,) = seen.values()
            # 4 ms of jitter, and what skips the delay
            assert stdev(directions["up"].delays) == pytest.approx(0.005, rel=0.3)
            assert 0.01 <= 1 - directions["down"].received / directions["down"].sent <= 0.12

        undisturbed(check)

    def test_what_measures_one_link_crosses_no_other(self, laboratory: Laboratory) -> None:
        laboratory.join_by_bridge(a=DIRECTION, b=DIRECTION)
        to_b = laboratory.links.current()[1]
        with laboratory.namespace("a").entered():
            elsewhere = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
        with elsewhere:
            assert measure([to_b], QUICK)[to_b.link]["up"].received > 0
            with pytest.raises(BlockingIOError):
                elsewhere.recv(2048, socket.MSG_DONTWAIT)

    @pytest.mark.parametrize(
        ("claimed", "reason"),
        [
            (replace(DIRECTION, delay=0.030), r"delay asked 30\.0 ms, measured 10\.\d+ ms"),
            (replace(DIRECTION, bandwidth=8e6), r"rate asked 8 mbit, measured (9\.[5-9]\d*|10(\.[0-4]\d*)?) mbit"),
            (replace(DIRECTION, loss=Loss(in_good=0.5)), r"loss asked 50\.00%, measured 0\.00%"),
            (replace(DIRECTION, cut=True), r"loss asked 100\.00%, measured 0\.00%"),
        ],
    )
    def test_a_link_that_is_not_what_it_is_said_to_be_is_found(
        self, laboratory: Laboratory, claimed: Direction, reason: str
    ) -> None:
        laboratory.join(DIRECTION, DIRECTION)

        def check() -> None:
            found = judge_links(measure(_claiming(laboratory.links.current(), claimed), QUICK), "now")
            assert [bool(re.match(f"link a-b up: {reason}", finding.reason)) for finding in found] == [True]

        undisturbed(check)

    def test_a_link_that_was_changed_is_held_against_what_it_is_now(self, laboratory: Laboratory) -> None:
        laboratory.join(DIRECTION, DIRECTION)
        laboratory.change({"delay": 0.040, "bandwidth": 2e6}, "up")

        def check() -> None:
            assert list(judge_links(measure(laboratory.links.current(), QUICK), "now")) == []

        undisturbed(check)

    def test_an_interface_that_is_gone_is_an_error(self, laboratory: Laboratory) -> None:
        laboratory.join(DIRECTION, DIRECTION)
        (wiring,) = laboratory.links.current()
        with pytest.raises(OSError, match="No such device"):
            measure([replace(wiring, a=replace(wiring.a, interface="eth9"))], QUICK)


def _claiming(wirings: Sequence[Wiring], up: Direction) -> list[Wiring]:
    """The same links, of which ``up`` is claimed to have been asked."""
    return [replace(wiring, link=replace(wiring.link, up=up)) for wiring in wirings]
