"""Metrics of other packages stand beside the built-in ones, and one that fails costs nothing but its own value."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playing import played, scenario

from testbed.analysis.measurements import Part
from testbed.analysis.recorded import RunFiles, load_runs
from testbed.core.errors import SpecError
from testbed.schema.metric import METRICS, Metric, metric, metrics
from testbed.schema.scenario import load_scenario
from testbed.show.report import write_report


@metric(unit="J", better="lower", of_window=False)
def energy(part: Part) -> float:
    """Twice the inferences."""
    return 2.0 * len(part.of("end"))


@metric()
def broken(part: Part) -> float:
    """Raises an error."""
    return float(part.of("end")[-1]["no such key"])


@metric()
def undefined(part: Part) -> float:
    """Not a number."""
    return math.nan * len(part.prompts)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    others: dict[str, Metric] = {"energy": energy, "broken": broken, "undefined": undefined}
    names, get = METRICS.names(), METRICS.get
    monkeypatch.setattr(METRICS, "names", lambda: sorted([*names, *others]))
    monkeypatch.setattr(METRICS, "get", lambda name: others.get(name) or get(name))
    metrics.cache_clear()
    yield
    metrics.cache_clear()


def _summary(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.usefixtures("installed")
def test_a_metric_of_another_package_is_in_the_summary_with_its_unit(tmp_path: Path) -> None:
    summary = _summary(played(scenario(), tmp_path / "run"))
    assert summary["metrics"]["energy"] == 2.0 * summary["metrics"]["inferences"]
    assert (summary["traits"]["energy"]["unit"], summary["traits"]["energy"]["better"]) == ("J", "lower")


@pytest.mark.usefixtures("installed")
def test_one_that_fails_or_is_not_a_number_is_null_with_the_reason(tmp_path: Path) -> None:
    summary = _summary(played(scenario(), tmp_path / "run"))
    assert (summary["metrics"]["broken"], summary["metrics"]["undefined"]) == (None, None)
    assert summary["failed_metrics"] == {"broken": "KeyError: 'no such key'", "undefined": "the value is nan"}


def test_an_expectation_can_name_a_metric_of_one_file(files: Any, tmp_path: Path) -> None:
    (files.directory / "energy.py").write_text(
        "from testbed.schema.metric import metric\n\n\n"
        '@metric(unit="J", better="lower")\n'
        'def mean(part):\n    """Joules an inference."""\n    return 3.0 * len(part.of("end"))\n'
    )
    written = files.scenario.replace("expect:\n", 'expect:\n  ./energy.py:mean: "< 1"\n')
    expected = files.load(scenario=written)
    assert [kind.origin.path.name for kind in expected.kinds if kind.name.endswith("energy.py:mean")] == ["energy.py"]
    mixed = scenario().model_copy(update={"expect": expected.expect})
    summary = _summary(played(mixed, tmp_path / "run"))
    assert summary["metrics"]["energy.py:mean"] == 3.0 * summary["metrics"]["inferences"]
    assert summary["traits"]["energy.py:mean"]["unit"] == "J"
    (judged,) = [one for one in summary["expectations"] if one["metric"] == "energy.py:mean"]
    assert (judged["held"], judged["expected"]) == (False, "< 1")
    again = load_scenario(tmp_path / "run" / "scenario.yaml")
    assert again.metric_files == [f"{tmp_path / 'run' / 'inputs' / 'energy.py'}:mean"]


def test_a_metric_that_no_file_defines_is_refused_in_a_sentence(files: Any) -> None:
    (files.directory / "empty.py").write_text("")
    with pytest.raises(SpecError, match=r"empty\.py defines no 'mean'"):
        files.load(scenario=files.scenario.replace("expect:\n", 'expect:\n  ./empty.py:mean: "< 1"\n'))


def test_metrics_are_the_same_when_the_directory_is_read_again(tmp_path: Path) -> None:
    directory = played(scenario(), tmp_path / "run")
    recorded = _summary(directory)["metrics"]
    again = RunFiles.load(directory).measured.metrics()
    assert {name: recorded[name] for name in again} == again


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, (None, None)),
        (3, (3, None)),
        (0.5, (0.5, None)),
        (math.inf, (None, "the value is inf")),
        ("much", (None, "ValueError: could not convert string to float: 'much'")),
    ],
)
def test_only_finite_numbers_are_values(value: Any, outcome: tuple[float | None, str | None]) -> None:
    assert metric()(lambda _: value)(None) == outcome


def test_a_run_is_read_where_the_package_of_its_metric_is_missing(tmp_path: Path, request: Any) -> None:
    request.getfixturevalue("installed")
    directory = played(scenario(), tmp_path / "run")
    request.getfixturevalue("monkeypatch").undo()
    metrics.cache_clear()
    write_report(directory)
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert f"{RunFiles.load(directory).summary['metrics']['energy']:.4g} J" in page
    (run,) = load_runs([directory])
    assert run.traits["energy"].better == "lower"
