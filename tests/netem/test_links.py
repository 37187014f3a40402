"""The kernel backend under a kernel that has netem, and the choice between the backends."""

from conformance import LinkConformance

from testbed.emulation.links.kernel import KERNEL
from testbed.emulation.plan import BACKENDS, choose_backend


class TestKernelLinks(LinkConformance):
    backend = KERNEL


def test_this_kernel_lacks_nothing() -> None:
    assert [backend.missing() for backend in BACKENDS] == [None, None]


def test_the_kernel_is_preferred() -> None:
    assert choose_backend(None).name == "kernel"
    assert choose_backend("userspace").name == "userspace"
