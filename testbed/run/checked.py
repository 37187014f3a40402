"""Scenarios that are checked completely: the files by themselves, and what their models allow."""

from collections.abc import Iterable
from pathlib import Path

from testbed.models.holdings import model_mistakes
from testbed.schema.keys import full_assignment
from testbed.schema.scenario import Scenario, load_scenario


def load_checked(path: Path, assignments: Iterable[str] = ()) -> Scenario:
    """Read a scenario and its topology with ``KEY=VALUE`` assignments in place; raises SpecError with all mistakes.

    A key may be short (:func:`.keys.full_key`). The path of a file is looked for in the working directory first.
    """
    return load_scenario(path, map(full_assignment, assignments), model_mistakes)
