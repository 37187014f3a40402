"""Calls of the command line within the test's own process."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from testbed import cli


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    code: object
    out: str
    err: str


Call = Callable[..., Outcome]


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *verb: str) -> Call:
    """Calls ``testbed`` with ``verb`` and further arguments."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["testbed", *verb, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Outcome(end.value.code, *capsys.readouterr())

    return call
