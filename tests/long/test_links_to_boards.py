"""The conformance suite of links, with a board beyond its cable in the place of the second host."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conformance import Laboratory, LinkConformance, undisturbed
from played_boards import ip

from testbed.core.clock import Clock
from testbed.schema.network.direction import Direction
from testbed.world.hardware.stand_in import BRIDGE, StandIn
from testbed.world.journal import Journal
from testbed.world.network.links.backend import End
from testbed.world.network.links.userspace import USERSPACE

pytestmark = pytest.mark.measures

BOARD = "b"


class BoardLaboratory(Laboratory):
    """Host ``b`` is a board: a namespace behind a veth pair, which is lent to a stand-in."""

    stand_in: StandIn

    def _end(self, host: str) -> End:
        if host != BOARD:
            return super()._end(host)
        nic, board = f"tb{uuid.uuid4().hex[:8]}", self.namespace(host)
        ip("link add", nic, "type veth peer name eth0 netns", board.path.name)
        super()._configure(host)
        self.stand_in = StandIn.make(self._journal, host, nic, self.address(host))
        mac = self.stand_in.answering(self.address(host), 5)
        assert mac is not None
        self.stand_in.admit(mac)
        return End("eth0", self.stand_in.namespace)

    def _configure(self, host: str) -> None:
        if host == BOARD:
            ip("-n", self.stand_in.namespace.path.name, "link set eth0 up master", BRIDGE)
        else:
            super()._configure(host)


class TestLinksToBoards(LinkConformance):
    backend = USERSPACE

    @pytest.fixture
    def laboratory(self, tmp_path: Path, clock: Clock) -> Iterator[Laboratory]:
        with closing(Journal.begin()) as journal:
            yield BoardLaboratory(USERSPACE, journal, tmp_path, clock)
            journal.undo()

    def test_a_board_is_as_far_and_as_fast_as_a_host_in_its_place(self, laboratory: Laboratory) -> None:
        """RTT within 0.2 ms, TCP within 1 %, in both directions."""
        direction = Direction(bandwidth=10e6, delay=0.010)
        laboratory.join_by_bridge(a=direction, b=direction, c=direction)

        def check_distance() -> None:
            assert abs(laboratory.round_trip("a", BOARD) - laboratory.round_trip("a", "c")) < 0.2
            assert abs(laboratory.round_trip(BOARD, "a") - laboratory.round_trip("c", "a")) < 0.2

        def check_rate(*there: tuple[str, str]) -> None:
            of_board, of_host = (laboratory.bulk_rate(source, target, 4_000_000) for source, target in there)
            assert abs(of_board / of_host - 1) < 0.01

        undisturbed(check_distance)
        undisturbed(lambda: check_rate(("a", BOARD), ("a", "c")))
        undisturbed(lambda: check_rate((BOARD, "a"), ("c", "a")))
