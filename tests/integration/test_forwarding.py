"""Nodes with several links, over the userspace backend on this host."""

import pytest
from forwarding import ForwardingConformance

from testbed.world.network.links.userspace import USERSPACE

pytestmark = pytest.mark.measures


class TestForwarding(ForwardingConformance):
    backend = USERSPACE
