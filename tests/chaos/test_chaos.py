"""Twenty runs with random faults, in which no invariant may break. They measure nothing, so two go on at a time."""

from pathlib import Path

import pytest
from observed import PROJECT, start

RUNS = 5  # of one test


@pytest.mark.parametrize("seed", range(1, 21, RUNS))
def test_random_faults_break_no_invariant(seed: int, tmp_path: Path) -> None:
    options = ("--runs", str(RUNS), "--seed", str(seed), "--out", tmp_path / "runs", "--set", "oversubscribe=true")
    process = start("chaos", PROJECT / "scenarios" / "chaos.yaml", *options)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert all(f"seed-{seed + run}: nothing broken" in output for run in range(RUNS))
