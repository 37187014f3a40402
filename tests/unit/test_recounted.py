"""Each number of a summary against the same number counted a second time, in another way."""

import json
from pathlib import Path
from typing import Any

import pytest
from playing import played, scenario
from recounted import differing, flat, recounted


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("rate", [0.5, 3.0], ids=["idle", "busy"])
def test_each_number_of_a_summary_follows_from_the_events(layers: int, rate: float, tmp_path: Path) -> None:
    run = played(scenario(layers=layers, rate=rate, prompts=80), tmp_path / "run")
    assert differing(run) == {}


def test_no_number_is_left_out(tmp_path: Path) -> None:
    """If all of them were slightly off, all of them would be found."""
    run = played(scenario(), tmp_path / "run")
    summary = json.loads((run / "summary.json").read_text())
    counted = {key: summary[key] for key in ("metrics", "nodes", "links")}
    numbers = {place for place, _ in flat(recounted(run)) if isinstance(dict(flat(counted)).get(place), int | float)}
    (run / "summary.json").write_text(json.dumps({**summary, **_off(counted)}))
    assert differing(run).keys() == numbers
    assert len(numbers) > 50


def _off(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _off(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_off(item) for item in value]
    return value * 1.001 + 0.001 if isinstance(value, int | float) else value
