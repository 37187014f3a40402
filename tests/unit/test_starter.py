"""``testbed init``: the files that a new user starts from."""

from pathlib import Path

import pytest

from testbed.core.errors import SpecError
from testbed.run.checked import load_checked
from testbed.schema.starter import write_starter


def test_the_files_are_a_scenario_that_is_right(tmp_path: Path) -> None:
    scenario_file, _ = write_starter(tmp_path / "new" / "place")
    scenario = load_checked(scenario_file)
    assert (scenario.name, list(scenario.topology.nodes)) == ("my-scenario", ["a", "b", "c"])
    assert scenario.timeline
    assert scenario.expectations


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "topology.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(SpecError, match=r"topology\.yaml: is there already"):
        write_starter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["topology.yaml"]
    assert (tmp_path / "topology.yaml").read_text(encoding="utf-8") == "mine"
