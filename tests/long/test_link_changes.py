"""Ten thousand changes of a link, each in a moment that chance gives, and every datagram arrives in its order."""

from conformance import Laboratory, LinkConformance, change_under_load

from testbed.world.network.links.userspace import USERSPACE


class TestUserspaceLinks:
    backend = USERSPACE
    clock = LinkConformance.clock
    laboratory = LinkConformance.laboratory

    def test_ten_thousand_changes_under_load_lose_and_reorder_nothing(self, laboratory: Laboratory) -> None:
        change_under_load(laboratory, 10_000)
