"""A run directory of another format is refused in a sentence."""

import json
from pathlib import Path

import pytest
from simulated import write_run

from testbed.analysis.recorded import FORMAT, load_runs
from testbed.core.errors import SpecError


@pytest.mark.parametrize(("found", "age"), [(None, "an older"), (FORMAT - 1, "an older"), (FORMAT + 1, "a newer")])
def test_another_format_is_refused(tmp_path: Path, found: int | None, age: str) -> None:
    directory = write_run(tmp_path / "run", [1.0, 2.0])
    manifest = {"seed": 7} if found is None else {"seed": 7, "format": found}
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(SpecError, match=f"recorded by {age} version of the testbed") as refused:
        load_runs([directory])
    assert refused.value.exit_code == 2
    assert str(refused.value).count("\n") == 0
