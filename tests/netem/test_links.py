"""Both backends under a kernel that has netem, and the choice between them."""

import pytest
from conformance import Laboratory, LinkConformance

from testbed.core.errors import SpecError
from testbed.faults.degrade import Degrade
from testbed.schema.network.direction import Direction, Queue
from testbed.schema.network.topology import Topology
from testbed.world.network.links.backend import backends
from testbed.world.network.links.kernel import KERNEL
from testbed.world.network.links.userspace import USERSPACE
from testbed.world.plan import choose_backend

NODE = {"model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB"}


class TestKernelLinks(LinkConformance):
    backend = KERNEL

    def test_a_queue_cannot_become_one_of_another_kind(self, laboratory: Laboratory) -> None:
        direction = Direction(bandwidth=10e6, delay=0.010)
        laboratory.join(direction, direction)
        with pytest.raises(SpecError, match="cannot turn a queue of packets into one of bytes"):
            laboratory.change({"queue": Queue(seconds=0.1), "delay": 0.1}, "down")
        laboratory.assert_round_trip(20, 22)


class TestUserspaceLinks(LinkConformance):
    backend = USERSPACE


def _topology(**link: object) -> Topology:
    parts = {"name": "t", "nodes": {"a": NODE}, "switches": ["s1"], "links": [{"endpoints": ["a", "s1"], **link}]}
    return Topology.model_validate(parts)


def test_this_kernel_lacks_nothing() -> None:
    assert [backend.missing() for backend in backends()] == [None, None]


def test_the_kernel_is_preferred() -> None:
    assert choose_backend(None, _topology()).name == "kernel"
    assert choose_backend("userspace", _topology()).name == "userspace"


def test_what_the_kernel_cannot_do_is_left_to_the_other() -> None:
    correlated = _topology(delay="10ms", jitter={"deviation": "2ms", "correlation": "50%"})
    assert choose_backend(None, correlated).name == "userspace"
    with pytest.raises(SpecError, match=r"a-s1.*correlate"):
        choose_backend("kernel", correlated)


@pytest.mark.parametrize("said", [{"jitter": {"deviation": "2ms", "correlation": "50%"}}, {"queue": "50ms"}])
def test_what_it_cannot_do_while_a_fault_lasts_is_left_to_the_other(said: dict[str, object]) -> None:
    topology, fault = _topology(delay="10ms", bandwidth="1mbit"), Degrade.model_validate({"link": "a-s1", **said})
    assert choose_backend(None, topology, [fault]).name == "userspace"
    with pytest.raises(SpecError, match=r"link a-s1: the kernel backend cannot"):
        choose_backend("kernel", topology, [fault])
