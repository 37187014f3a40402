"""The userspace backend on this host."""

from conformance import LinkConformance

from testbed.world.network.links.userspace import USERSPACE


class TestUserspaceLinks(LinkConformance):
    backend = USERSPACE
