"""The lock of a run's links."""

import fcntl
from pathlib import Path

import pytest

from testbed.world.network.links.backend import LinkError
from testbed.world.network.links.lock import held


def test_a_lock_that_another_process_keeps_is_an_error_and_not_waited_for_without_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LinkError, match=r"kept the links locked for 0\.02 s"), held(path, 0.02):
            pass
    with held(path):
        pass
