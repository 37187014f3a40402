"""The userspace backend on this host."""

import pytest
from conformance import LinkConformance

from testbed.world.network.links.userspace import USERSPACE

pytestmark = pytest.mark.measures


class TestUserspaceLinks(LinkConformance):
    backend = USERSPACE
