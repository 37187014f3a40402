"""What counts as left behind by a run."""

import psutil
import pytest

from testbed.world.leaks import Possessions


def test_an_interface_counts_unless_it_is_dockers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker makes one on the host for each container that anybody starts meanwhile."""
    before = Possessions.now().held
    there = psutil.net_if_addrs()
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {**there, "veth4f2a9c1": [], "s1-eth1": []})
    assert list((Possessions.now().held - before).elements()) == ["the interface s1-eth1"]
