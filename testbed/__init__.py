"""A hardware-in-the-loop testbed for language models at the network edge.

The Python API; docs/python.md shows it at work. Nodes import this package as well, and have only what a node needs: an
entry is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testbed.api import Comparison, Run, TestbedError, compare_runs, read_run, read_runs, run_scenario

__all__ = ["Comparison", "Run", "TestbedError", "compare_runs", "read_run", "read_runs", "run_scenario"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with import_module("testbed.core.extra").host_extra():
        return getattr(import_module("testbed.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
