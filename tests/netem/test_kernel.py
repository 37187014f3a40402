"""The kernel that these tests run under has what the links need."""

import uuid
from collections.abc import Iterator

import pytest
from pyroute2 import NetNS, netns


@pytest.fixture
def namespace() -> Iterator[NetNS]:
    """A network namespace of its own, removed at the end."""
    name = f"netem-{uuid.uuid4().hex[:8]}"
    with NetNS(name) as link:
        yield link
    netns.remove(name)


def test_netem_takes_a_delay(namespace: NetNS) -> None:
    namespace.link("add", ifname="left", kind="veth", peer={"ifname": "right"})
    left = namespace.link_lookup(ifname="left")[0]
    namespace.tc("add", "netem", left, delay=10_000)
    assert "netem" in [qdisc.get("kind") for qdisc in namespace.get_qdiscs(index=left)]
