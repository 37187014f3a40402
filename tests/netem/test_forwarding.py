"""Nodes with several links, over the kernel backend under a kernel that has netem."""

from forwarding import ForwardingConformance

from testbed.world.network.links.kernel import KERNEL


class TestForwarding(ForwardingConformance):
    backend = KERNEL
