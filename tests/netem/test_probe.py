"""Links of the kernel backend, measured under a kernel that has netem."""

from probing import ProbeSuite

from testbed.world.network.links.kernel import KERNEL


class TestProbeOnKernelLinks(ProbeSuite):
    backend = KERNEL
