"""The page of a chaos campaign: what each run drew, and what broke."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.show.report.page import REPORT
from testbed.show.report.rendering import render, write_page

CHAOS_PAGE: Final = "chaos.html"


@dataclass(frozen=True)
class ChaosRun:
    """One run: its name, its faults as sentences, and what came of it."""

    name: str
    seed: int
    faults: Sequence[str]
    outcome: str


def write_chaos(scenario: str, runs: Sequence[ChaosRun], smallest: Sequence[str] | None, directory: Path) -> None:
    """Write the page of a campaign in ``directory``; ``smallest`` is the smallest timeline that breaks, if any does."""
    rows = [(run, f"{run.name}/{REPORT}" if (directory / run.name / REPORT).exists() else "") for run in runs]
    page = render("chaos.html", f"{scenario}: chaos", scenario=scenario, rows=rows, smallest=smallest)
    write_page(directory / CHAOS_PAGE, page)
