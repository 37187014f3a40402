"""The userspace backend on this host."""

from conformance import LinkConformance

from testbed.emulation.links.userspace import UserspaceLinks


class TestUserspaceLinks(LinkConformance):
    backend = UserspaceLinks
