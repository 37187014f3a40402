"""The kernel backend under a kernel that has netem, and the choice between the backends."""

from conformance import LinkConformance

from testbed.emulation.links import kernel, userspace
from testbed.emulation.links.kernel import KernelLinks
from testbed.emulation.plan import choose_backend


class TestKernelLinks(LinkConformance):
    backend = KernelLinks


def test_this_kernel_lacks_nothing() -> None:
    assert kernel.missing() is None
    assert userspace.missing() is None


def test_the_kernel_is_preferred() -> None:
    assert choose_backend(None).name == "kernel"
    assert choose_backend("userspace").name == "userspace"
