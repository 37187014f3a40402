"""Nodes with several links, over the userspace backend on this host."""

from forwarding import ForwardingConformance

from testbed.world.network.links.userspace import USERSPACE


class TestForwarding(ForwardingConformance):
    backend = USERSPACE
