"""Shared by all lanes."""

import signal

import pytest

pytest.register_assert_rewrite("conformance")

# Under nohup(1) SIGHUP is ignored, also by all programs that the tests start. With a handler it is not: exec(2) turns
# handlers into the default.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)
