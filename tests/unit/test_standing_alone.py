"""A run directory has all that the run read, and needs neither the originals nor the code of kinds to be looked at."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from playing import played, scenario
from ruamel.yaml import YAML

from testbed.analysis.recorded import load_runs
from testbed.record.directory import RunDirectory
from testbed.record.inputs import recorded_code
from testbed.schema.scenario import Scenario, load_scenario
from testbed.show.report import write_report

DEVICES = """\
slow-board:
  cores: 1
  memory: 256MiB
  model: llama-7b-q4
  weights: 4GB
  tokens_per_second: 1
  source: a stopwatch
"""
SCORER = """\
from testbed.workload.scoring.base import Scorer


class Length(Scorer):
    def score(self, question, answer):
        return min(1.0, len(answer) / 10)
"""


@pytest.fixture
def original(files: Any) -> Scenario:
    """A scenario that names a trace, a file of devices and a scorer in a file."""
    (files.directory / "own.yaml").write_text(DEVICES)
    (files.directory / "lte.trace").write_text("1\n5\n9\n")
    (files.directory / "length.py").write_text(SCORER)
    topology = files.topology.replace("switches:", "devices: own.yaml\nswitches:")
    topology = topology.replace("endpoints: [a, s1]", "endpoints: [a, s1]\n    down: {trace: lte.trace}")
    workload = "  count: 6\n  scorer: ./length.py:Length\n"
    loaded: Scenario = files.load(scenario=files.scenario.replace("  count: 6\n", workload), topology=topology)
    return loaded


def test_a_run_directory_is_run_again_when_the_originals_are_gone(
    original: Scenario, files: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "run"
    directory = RunDirectory.create(original, files.directory / "run")
    shutil.move(directory.path, elsewhere)
    shutil.rmtree(files.directory)
    assert sorted(path.name for path in (elsewhere / "inputs").iterdir()) == ["length.py", "lte.trace", "own.yaml"]
    again = load_scenario(elsewhere / "scenario.yaml")
    assert again.topology.profiles["slow-board"].tokens_per_second == 1
    (trace,) = [link.down.trace for link in again.topology.resolved_links if link.down.trace]
    assert (trace.path, trace.opportunities) == (str(elsewhere / "inputs" / "lte.trace"), (1, 5, 9))
    assert again.kind_files == [elsewhere / "inputs" / "length.py"]
    assert str(files.directory) not in (elsewhere / "scenario.yaml").read_text(encoding="utf-8")


def test_what_was_copied_is_known_with_its_hash_and_its_origin(original: Scenario, files: Any) -> None:
    directory = RunDirectory.create(original, files.directory / "run")
    copied = {one.copy: one for one in directory.inputs}
    assert copied["inputs/lte.trace"].source == files.directory / "lte.trace"
    assert all(len(one.sha256) == 64 for one in copied.values())


def test_running_again_names_the_code_that_it_executes_before_it_does(original: Scenario, files: Any) -> None:
    directory = RunDirectory.create(original, files.directory / "run")
    assert recorded_code(files.directory / "scenario.yaml") == []  # it is the user's own
    directory.write_json("manifest.json", {})
    assert recorded_code(directory.path / "scenario.yaml") == [Path("inputs/length.py")]


def test_two_files_of_one_name_have_copies_of_their_own(files: Any) -> None:
    for folder, text in (("one", "1\n"), ("two", "2\n")):
        (files.directory / folder).mkdir()
        (files.directory / folder / "lte.trace").write_text(text)
    topology = files.topology.replace("endpoints: [a, s1]", "endpoints: [a, s1]\n    trace: one/lte.trace")
    topology = topology.replace("endpoints: [b, s1]", "endpoints: [b, s1]\n    trace: two/lte.trace")
    directory = RunDirectory.create(files.load(topology=topology), files.directory / "run")
    again = load_scenario(directory.path / "scenario.yaml")
    assert [link.up.trace.opportunities for link in again.topology.resolved_links if link.up.trace] == [(1,), (2,)]


def test_a_baseline_is_not_needed_to_run_again(files: Any) -> None:
    (files.directory / "before").mkdir()
    directory = RunDirectory.create(files.load("baseline=before"), files.directory / "run")
    (files.directory / "before").rmdir()
    assert load_scenario(directory.path / "scenario.yaml").baseline is None


def test_report_and_compare_execute_no_code_of_a_run_directory_and_need_no_kinds(tmp_path: Path) -> None:
    directory = played(scenario(), tmp_path / "run")
    trap = directory / "inputs" / "trap.py"
    trap.parent.mkdir(exist_ok=True)
    trap.write_text("raise SystemExit('this code must not run')\n")
    yaml = YAML()
    recorded = yaml.load((directory / "scenario.yaml").read_text(encoding="utf-8"))
    recorded["pattern"] = {"kind": "inputs/trap.py:Trap"}
    recorded["timeline"] = [{"at": "1s", "earthquake": {"magnitude": 9}}]
    recorded["topology"]["nodes"]["n1"]["model"] = "elsewhere:model"
    recorded["workload"]["scorer"] = "inputs/trap.py:Scorer"
    with (directory / "scenario.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(recorded, file)
    write_report(directory)
    assert (directory / "report.html").exists()
    assert len(load_runs([directory])) == 1
