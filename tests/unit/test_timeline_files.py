"""Timelines in files: what is read, what names entries get, and what is refused, with its line and a remedy."""

from pathlib import Path
from typing import Any

import pytest

from testbed.core.errors import SpecError
from testbed.record.directory import RunDirectory
from testbed.schema.fault import FAULTS
from testbed.schema.network.shape import TwoWayShape
from testbed.schema.scenario import load_scenario

ENTRIES = {
    "cut": "cut: a-s1",
    "flap": "flap: {link: a-s1, cut: 1s, every: 3s}",
    "degrade": "degrade: {link: a-s1, delay: 200ms, up: {loss: 5%}}",
    "partition": "partition: [[a], [b]]",
    "pause": "pause: a",
    "hang": "hang: a",
    "kill": "kill: a",
    "restart": "restart: a",
    "slow": "slow: {node: a, factor: 3}",
    "cpu": "cpu: {node: a, cpus: 0.1}",
    "memory": "memory: {node: a, memory: 100MiB}",
    "lie": "lie: {node: a, share: 50%, collude: ring}",
    "garble": "garble: a",
    "inject": "inject: {node: a, text: Say no more.}",
    "resend": "resend: a",
    "impersonate": "impersonate: {node: a, victim: b, rate: 2/s}",
    "flood": "flood: {node: a, rate: 20/s, to: [b]}",
    "swap": "swap: {node: a, model: zoo/beta}",
    "unplug": "unplug: pi",
}
PLUGGED = "  pi: {interface: enx1, power_sensor: {kind: tasmota, address: 192.0.2.7}}\nswitches:"


def _with(files: Any, *entries: str) -> str:
    return files.scenario + "timeline:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


def test_every_kind_of_fault_is_tried_here() -> None:
    assert ENTRIES.keys() == set(FAULTS.names())


@pytest.mark.parametrize("kind", ENTRIES)
def test_each_fault_is_read_named_and_survives_being_resolved(files: Any, kind: str) -> None:
    scenario = files.load(
        scenario=_with(files, f"in: {{layer: 1}}, {ENTRIES[kind]}", f"at: 2s, name: mine, {ENTRIES[kind]}"),
        topology=files.topology.replace("switches:", PLUGGED) + "  - endpoints: [pi, s1]\n",
    )
    assert [entry.label for entry in scenario.timeline] == [f"{kind}-1", "mine"]
    assert all(type(entry.fault) is FAULTS.get(kind) for entry in scenario.timeline)
    path = RunDirectory.create(scenario, files.directory / "run").path / "scenario.yaml"
    assert load_scenario(path) == scenario


TRIGGERS = {
    "at: 20s": "at: 20s",
    "after: {prompts: 3}": "after: prompts 3",
    "after: {tokens: 40, node: b}": "after: tokens 40, node b",
    'when: {node: a, queue: "> 3"}': "when: node a, queue > 3",
    "in: {layer: 2}": "in: layer 2",
}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_each_trigger_is_read(files: Any, trigger: str) -> None:
    (entry,) = files.load(scenario=_with(files, f"{trigger}, cut: a-s1")).timeline
    assert entry.awaited == TRIGGERS[trigger]


# The entries, the key that is at fault in the last of them, and what is said of it.
MISTAKES = {
    "unknown node": (["at: 1s, kill: x"], "kill", "there is no node 'x'; known are a, b"),
    "unknown link": (["at: 1s, cut: a-b"], "cut", "there is no link 'a-b'; known are a-s1, b-s1"),
    "unknown node on a side": (["at: 1s, partition: [[a], [s1]]"], "partition.groups[1][0]", "there is no node 's1'"),
    "node on two sides": (
        ["at: 1s, partition: [[a], [b, a]]"],
        "partition.groups",
        "'a' is listed 2 times; name each node at most once",
    ),
    "one side": (["at: 1s, partition: [[a, b]]"], "partition.groups", "at least 2 items"),
    "no trigger": (["cut: a-s1"], "", "takes one of at, after, when, in to say when it happens"),
    "two triggers": (["at: 1s, in: {layer: 1}, cut: a-s1"], "", "takes one of at, after, when, in"),
    "no fault": (["at: 1s"], "", "takes one fault, and has none; known are"),
    "two faults": (["at: 1s, cut: a-s1, kill: a"], "", "takes one fault, not cut and kill"),
    "near miss": (["at: 1s, kil: a"], "kil", "did you mean `kill`?"),
    "missing key": (["at: 1s, flap: {link: a-s1, cut: 1s}"], "flap", "`every` is missing"),
    "time without unit": (["at: 1, cut: a-s1"], "at", "1 has no unit"),
    "flap that is never whole": (
        ["at: 1s, flap: {link: a-s1, cut: 1s, every: 1s}"],
        "flap",
        "must be longer than `cut`",
    ),
    "nothing to degrade": (["at: 1s, degrade: {link: a-s1}"], "degrade", "changes no property; name one"),
    "jitter beyond the delay": (
        ["at: 1s, degrade: {link: a-s1, jitter: 50ms}"],
        "degrade",
        "a jitter of 50 ms is more than the delay of 10 ms",
    ),
    "more cpu than there is": (["at: 1s, cpu: {node: a, cpus: 2}"], "cpu.cpus", "more than the 0.3 of node 'a'"),
    "more memory": (["at: 1s, memory: {node: a, memory: 1GiB}"], "memory.memory", "must be below the 160MiB of node"),
    "slow that is none": (["at: 1s, slow: {node: a, factor: 1}"], "slow.factor", "greater than 1"),
    "random at a time": (["at: 1s, random: {rate: 1/s}"], "", "`random` stands alone: when its faults happen"),
    "random and a fault": (["random: {rate: 1/s}, cut: a-s1"], "", "`random` stands alone"),
    "random without a rate": (["random: {faults: [cut]}"], "random", "`rate` is missing"),
    "random of nothing": (["random: {faults: [], rate: 1/s}"], "random.faults", "at least 1 item"),
    "unknown kind": (["random: {faults: [cut, kil], rate: 1/s}"], "random.faults[1]", "there is no fault 'kil'"),
    "random without end": (
        ["random: {rate: 1000/s}"],
        "random.rate",
        "would draw about 1500 faults; let it be no more",
    ),
    "random of no length": (
        ["random: {rate: 1/s, shortest: 9s}"],
        "random",
        "`shortest` must be at most `longest`",
    ),
    "healing random": (["random: {rate: 1/s}", "at: 1s, heal: random-1"], "heal", "no fault named 'random-1'"),
    "for with a restart": (["at: 1s, restart: a, for: 2s"], "", "`for` does not go with `restart`"),
    "healing nothing": (
        ["at: 1s, cut: a-s1", "at: 2s, heal: cut-2"],
        "heal",
        "no fault named 'cut-2'; known are cut-1",
    ),
    "a name twice": (["at: 1s, cut: a-s1", "at: 2s, name: cut-1, kill: a"], "", "the name 'cut-1' is taken already"),
    "too many prompts": (
        ["after: {prompts: 7}, cut: a-s1"],
        "after.prompts",
        "never comes: the workload has 6 prompts",
    ),
    "prompts and tokens": (
        ["after: {prompts: 1, tokens: 1}, cut: a-s1"],
        "after",
        "takes either `prompts` or `tokens`",
    ),
    "unknown node of a trigger": (["when: {node: x, queue: '> 1'}, cut: a-s1"], "when.node", "there is no node 'x'"),
    "queue of no length": (
        ["when: {node: a, queue: '< 0'}, cut: a-s1"],
        "when.queue",
        "no queue keeps '< 0'; bound a whole number",
    ),
    "no bound": (["when: {node: a, queue: 3}, cut: a-s1"], "when.queue", "text is wanted"),
    "layer beyond the last": (
        ["in: {layer: 3}, cut: a-s1"],
        "in.layer",
        "never comes: the last layer of this pattern is 2",
    ),
    "long after the end": (["at: 3h, cut: a-s1"], "at", "is long after the last of 6 prompts, which arrives"),
    "a dead node": (
        ["at: 1s, kill: a", "at: 2s, pause: a"],
        "",
        "node 'a' is down by then, killed by kill-1; restart it before",
    ),
    "a dead node dies": (["at: 1s, kill: a, for: 5s", "at: 2s, kill: a"], "", "node 'a' is down by then"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_is_refused_with_its_line(files: Any, mistake: str) -> None:
    entries, key, sentence = MISTAKES[mistake]
    text = _with(files, *entries)
    with pytest.raises(SpecError) as refusal:
        files.load(scenario=text)
    (problem,) = refusal.value.problems
    assert problem.line == len(text.splitlines())
    assert problem.message.startswith(f"timeline[{len(entries) - 1}]{'.' if key else ''}{key}: ")
    assert sentence in problem.message


@pytest.mark.parametrize(
    "entries",
    [
        ["at: 1s, kill: a, for: 1s", "at: 2s, pause: a"],
        ["at: 1s, kill: a", "at: 2s, restart: a", "at: 3s, kill: a"],
        ["at: 1s, kill: a", "at: 2s, heal: kill-1", "at: 3s, pause: a"],
        ["at: 5s, kill: a", "at: 2s, pause: a", "at: 6s, pause: b"],
    ],
)
def test_what_can_be_is_taken(files: Any, entries: list[str]) -> None:
    assert len(files.load(scenario=_with(files, *entries)).timeline) == len(entries)


@pytest.mark.parametrize("kind", FAULTS.names())
def test_the_documentation_says_what_the_schema_says(kind: str) -> None:
    """A section for each fault, with its docstring word for word and every key that is its own."""
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    section = " ".join(page.split(f"\n## `{kind}`\n")[1].split("\n## ")[0].split())
    fault = FAULTS.get(kind)
    assert " ".join((fault.__doc__ or "").split()) in section
    for name, field in fault.model_fields.items():
        if name not in TwoWayShape.model_fields:
            assert f"| `{name}` | {field.description}" in section
