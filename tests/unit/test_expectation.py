"""Expectations in files: which part of a run they mean, and what is refused, with its line and a remedy."""

from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory
from testbed.schema.expectation import Expectation
from testbed.schema.metric import METRICS, unit_of
from testbed.schema.scenario import json_schema, load_scenario

TIMELINE = """\
timeline:
  - {at: 1s, partition: [[a], [b]], for: 2s}
  - {at: 2s, name: crash, kill: b}
  - {at: 5s, heal: crash}
  - {at: 6s, restart: a}
  - {at: 7s, hang: a}
"""


def _with(files: Any, expect: str) -> str:
    """The scenario with a timeline and other expectations, which come last."""
    return files.scenario.partition("expect:")[0] + TIMELINE + f"expect:{expect}"


def _several(*entries: str) -> str:
    return "".join(f"\n  - {{{entry}}}" for entry in entries) + "\n"


# An entry, the part of the run that it is about, and of which nodes.
ENTRIES = {
    'completed: ">= 1"': (None, [None]),
    'during: partition-1, completed: ">= 1", latency.p95: "< 3s"': ("during partition-1", [None]),
    'after: partition-1, within: 10s, latency.p95: "< 1s"': ("after partition-1 within 10s", [None]),
    'after: heal-1, prompts: ">= 1"': ("after heal-1", [None]),
    'after: crash, prompts: ">= 1"': ("after crash", [None]),
    'after: restart-1, within: 500ms, late: "== 0"': ("after restart-1 within 500ms", [None]),
    'during: hang-1, node: b, queue.max: "<= 3"': ("during hang-1", ["b"]),
    'from: 10s, to: 90s, inferences: "> 3"': ("from 10s to 1.5min", [None]),
    'from: 3s, inferences: "> 3"': ("from 3s", [None]),
    'to: 3s, inferences: "> 3"': ("to 3s", [None]),
    'nodes: all, queue.max: "<= 8", memory.peak: "< 100MiB"': (None, ["a", "b"]),
    "nodes: {a: running, b: exited}": (None, [None]),
    'nodes: {b: out of memory}, completed: ">= 0.5"': (None, [None]),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_read_and_survives_being_resolved(files: Any, entry: str) -> None:
    scenario = files.load(scenario=_with(files, _several('completed: ">= 1"', entry)))
    _, expectation = scenario.expectations
    window, nodes = ENTRIES[entry]
    assert (expectation.window, expectation.subjects(["a", "b"])) == (window, nodes)
    path = RunDirectory.create(scenario, files.directory / "run").path / "scenario.yaml"
    assert load_scenario(path) == scenario


def test_bounds_and_states_are_what_is_written(files: Any) -> None:
    (expectation,) = files.load(
        scenario=_with(files, _several('latency.p95: "< 3s", nodes: {b: exited}, accuracy: "> 0.5"'))
    ).expectations
    assert {metric: bound.written for metric, bound in expectation.bounds.items()} == {
        "accuracy": "> 0.5",
        "latency.p95": "< 3s",
    }
    assert expectation.states == {"b": "exited"}


def test_one_entry_needs_no_list(files: Any) -> None:
    entry = 'during: hang-1, completed: ">= 1"'
    one = files.load(scenario=_with(files, f" {{{entry}}}\n"))
    assert one.expectations == files.load(scenario=_with(files, _several(entry))).expectations


@pytest.mark.parametrize("metric", METRICS.names())
def test_every_metric_can_be_expected_of_the_whole_run(files: Any, metric: str) -> None:
    unit = unit_of(metric)
    (expectation,) = files.load(scenario=_with(files, _several(f'{metric}: "> 1{unit}"'))).expectations
    assert list(expectation.bounds) == [metric]


# The entry, the key in it that is at fault, and what is said of it.
MISTAKES = {
    "unknown metric": ('acuracy: "> 1"', "acuracy", "there is no such key here; did you mean `accuracy`?"),
    "near miss of a key": ('durin: crash, completed: ">= 1"', "durin", "did you mean `during`?"),
    "malformed bound": ("completed: most", "completed", 'must be a comparison and a bound, like "< 3"'),
    "bound that is a number": ("completed: 1", "completed", "text is wanted"),
    "unknown label": (
        'during: partition-2, completed: ">= 1"',
        "during",
        "the timeline has no entry named 'partition-2'; known are partition-1, crash, heal-1, restart-1, hang-1",
    ),
    "unknown label after": ('after: heal, completed: ">= 1"', "after", "no entry named 'heal'; known are partition-1"),
    "during a restart": ('during: restart-1, completed: ">= 1"', "during", "write `after: restart-1`"),
    "during a healing": (
        'during: heal-1, completed: ">= 1"',
        "during",
        "heal-1 has no duration; write `after: heal-1`",
    ),
    "after what never ends": (
        'after: hang-1, completed: ">= 1"',
        "after",
        "hang-1 lasts until the end of play; write `during`, or end the fault by `for` or `heal`",
    ),
    "two windows": ('during: crash, from: 3s, completed: ">= 1"', "", "takes one of `during`, `after`, and `from`"),
    "two labels": ('during: crash, after: crash, completed: ">= 1"', "", "takes one of `during`, `after`, and `from`"),
    "within nothing": ('within: 3s, completed: ">= 1"', "", "say after what"),
    "within no time": ('after: crash, within: 0s, completed: ">= 1"', "within", "greater than 0"),
    "time without unit": ('from: 3, completed: ">= 1"', "from", "3 has no unit"),
    "backwards": ('from: 3s, to: 2s, completed: ">= 1"', "", "`to` must be later than `from`"),
    "unknown node": ('node: x, completed: ">= 1"', "node", "there is no node 'x'; known are a, b"),
    "unknown node that ends": ("nodes: {x: exited}", "nodes.x", "there is no node 'x'; known are a, b"),
    "unknown state": ("nodes: {b: dead}", "nodes.b", "'running', 'exited' or 'out of memory'"),
    "some nodes": ('nodes: some, completed: ">= 1"', "nodes", "should be 'all'"),
    "list of nodes": ('nodes: [a, b], completed: ">= 1"', "nodes", "must hold keys and values"),
    "node and nodes": ('node: a, nodes: all, completed: ">= 1"', "", "takes `node` or `nodes`"),
    "a state in a window": ("during: crash, nodes: {b: exited}", "", "how nodes end has no window"),
    "no bound": ("during: crash", "", 'expects nothing; add a metric and its bound, like completed: ">= 1"'),
    "no bound on nodes": ("nodes: all", "", "expects nothing"),
    "links in a window": (
        'during: crash, bytes_on_links: "> 1kB"',
        "bytes_on_links",
        "measured over the whole of play only",
    ),
    "links of a node": ('node: a, bytes_on_links: "> 1kB"', "bytes_on_links", "measured over all nodes together only"),
    "links of all nodes": (
        'nodes: all, bytes_on_links: "> 1kB"',
        "bytes_on_links",
        "measured over all nodes together only",
    ),
    "peak in a window": ('from: 1s, memory.peak: "< 1GiB"', "memory.peak", "is measured over the whole of play only"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_is_refused_with_its_line(files: Any, mistake: str) -> None:
    entry, key, sentence = MISTAKES[mistake]
    text = _with(files, _several('completed: ">= 1"', entry))
    with pytest.raises(SpecError) as refusal:
        files.load(scenario=text)
    (problem,) = refusal.value.problems
    assert problem.line == len(text.splitlines())
    assert problem.message.startswith(f"expect[1]{'.' if key else ''}{key}: ")
    assert sentence in problem.message


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_same_is_refused_of_a_single_entry(files: Any, mistake: str) -> None:
    entry, key, sentence = MISTAKES[mistake]
    text = _with(files, f"\n  {{{entry}}}\n")
    with pytest.raises(SpecError) as refusal:
        files.load(scenario=text)
    (problem,) = refusal.value.problems
    assert problem.line == len(text.splitlines()) - (0 if key else 1)
    assert problem.message.startswith(f"expect{'.' if key else ''}{key}: ")
    assert sentence in problem.message


@pytest.mark.parametrize("expect", [" 5\n", " most\n", "\n", "\n  - completed\n"])
def test_what_is_no_entry_is_refused(files: Any, expect: str) -> None:
    with pytest.raises(SpecError, match=r"expect(\[0\])?: must hold keys and values"):
        files.load(scenario=_with(files, expect))


def test_mistakes_in_timeline_and_expectations_come_at_once(files: Any) -> None:
    text = _with(files, _several('during: cut-9, completed: ">= 1"')).replace("kill: b", "kill: x")
    with pytest.raises(SpecError) as refusal:
        files.load(scenario=text)
    assert len(refusal.value.problems) == 2


def test_the_command_line_reaches_an_entry_of_a_list(files: Any) -> None:
    scenario = files.load(
        "expect.1.latency.p95=< 3s",
        scenario=_with(files, _several('completed: ">= 1"', 'node: a, latency.p95: "< 1s"')),
    )
    assert scenario.expectations[1].bounds["latency.p95"].limit == 3


def test_nothing_need_be_expected(files: Any) -> None:
    for nothing in ("expect={}", "expect=[]"):
        assert not any(expectation != Expectation() for expectation in files.load(nothing).expectations)


def test_the_schema_knows_every_metric_and_takes_one_entry_or_several() -> None:
    schema = json_schema()
    entry = schema["$defs"]["Expectation"]
    assert set(METRICS.names()) <= entry["properties"].keys()
    assert {"during", "after", "within", "from", "to", "node", "nodes"} <= entry["properties"].keys()
    assert entry["additionalProperties"] is False
    one, several = schema["properties"]["expect"]["oneOf"]
    assert one == several["items"] == {"$ref": "#/$defs/Expectation"}
