"""Addresses of schedulers: what is refused before anything is sent to them."""

import pytest

from testbed.core.errors import HostError, SpecError
from testbed.run.cluster.connection import connected


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("scheduler", "--on: 'scheduler' must read tcp://127.0.0.1:8786, tls://HOST:8786 or ssh:FILE"),
        ("tcp://127.0.0.1", "must read tcp://127.0.0.1:8786"),
        ("http://127.0.0.1:8786", "must read tcp://127.0.0.1:8786"),
        ("tcp://192.0.2.1:8786", "--on: tcp://192.0.2.1:8786 is neither loopback nor encrypted, so anybody could"),
        ("tls://192.0.2.1:8786", "tls://192.0.2.1:8786 needs certificates; name them in Dask's settings"),
    ],
)
def test_an_address_that_is_wrong_or_open_to_others_is_refused(address: str, sentence: str) -> None:
    with pytest.raises(SpecError) as refused, connected(address):
        raise AssertionError("connected")
    assert sentence in str(refused.value)


def test_a_scheduler_that_is_not_there_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.run.cluster.connection._PATIENCE", 0.5)
    with (
        pytest.raises(HostError, match="no Dask scheduler answers"),
        connected("tcp://127.0.0.1:9"),
    ):
        raise AssertionError("connected")
