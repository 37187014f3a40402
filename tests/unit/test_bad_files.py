"""Malformed files through the real command line: exit code 2, one sentence a mistake with its place, no traceback."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed import cli
from testbed.core.errors import SpecError
from testbed.run.checked import load_checked

SCENARIO, TOPOLOGY = "scenario.yaml", "topology.yaml"


def _validate(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *options: str
) -> tuple[int, list[str]]:
    """The exit code of ``testbed validate`` and the lines that it prints as errors."""
    monkeypatch.setattr(sys, "argv", ["testbed", "validate", str(path), *options])
    with pytest.raises(SystemExit) as end:
        cli.main()
    code = end.value.code
    assert isinstance(code, int)
    return code, capsys.readouterr().err.splitlines()


def _shell(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from testbed.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def _line_of(text: str, content: str) -> int:
    """The number of the one line that holds ``content``."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if content in line]
    assert len(lines) == 1, f"{content!r} stands in lines {lines}"
    return lines[0]


# Which file, what in it is replaced by what, a part of the line that is at fault, the key, and what is said of it.
MISTAKES = {
    "flow that is not closed": (SCENARIO, "count: 6", "count: [6", "expect:", "", "is not valid YAML: "),
    "tab": (SCENARIO, "  count: 6", "\tcount: 6", "\tcount", "", "cannot start any token"),
    "duplicate key": (SCENARIO, "seed: 3", "name: again", "name: again", "", 'found duplicate key "name"'),
    "near miss": (SCENARIO, "seed:", "sed:", "sed:", "sed", "no such key here; did you mean `seed`?"),
    "near miss in a node": (
        TOPOLOGY,
        "zoo/alpha, cpus",
        "zoo/alpha, contxt: 64, cpus",
        "contxt",
        "nodes.a.contxt",
        "no such key here; did you mean `context`?",
    ),
    "near miss in a link": (
        TOPOLOGY,
        "endpoints: [b, s1]",
        "{endpoints: [b, s1], up: {delai: 1ms}}",
        "delai",
        "links[1].up.delai",
        "did you mean `delay`?",
    ),
    "unknown key": (
        SCENARIO,
        "timeout: 2s",
        "wizardry: 2s",
        "wizardry",
        "pattern.wizardry",
        "no such key here; known are kind, layers, proposers, timeout, neighbours",
    ),
    "missing key": (SCENARIO, "  count: 6\n", "", "workload:", "workload", "`count` is missing"),
    "missing key of a node": (
        TOPOLOGY,
        "zoo/beta, cpus: 0.3,",
        "zoo/beta,",
        "zoo/beta",
        "nodes.b",
        "`cpus` is missing",
    ),
    "delay without unit": (
        TOPOLOGY,
        "delay: 10ms",
        "delay: 10",
        "delay: 10",
        "defaults.link.delay",
        "10 has no unit; write it like 10ms (units: us, ms, s, min, h)",
    ),
    "negative bandwidth": (
        TOPOLOGY,
        "10mbit",
        "-10mbit",
        "-10mbit",
        "defaults.link.bandwidth",
        "must be above zero, like 10mbit",
    ),
    "unknown unit": (
        TOPOLOGY,
        "cpus: 0.3, memory: 160MiB}\n  b",
        "cpus: 0.3, memory: 160megs}\n  b",
        "160megs",
        "nodes.a.memory",
        "unknown unit 'megs'; known are B, kB, KiB, MB, MiB, GB, GiB",
    ),
    "endless delay": (TOPOLOGY, "delay: 10ms", "delay: 1e999s", "1e999s", "defaults.link.delay", "too large"),
    "link to nowhere": (
        TOPOLOGY,
        "[b, s1]",
        "[b, s7]",
        "[b, s7]",
        "links[1].endpoints[1]",
        "there is no node or switch 's7'; known are a, b, s1",
    ),
    "node without link": (
        TOPOLOGY,
        "\n  - endpoints: [b, s1]",
        "",
        "  b:",
        "nodes.b",
        "cannot be reached from 'a'; a link between the two sides is missing",
    ),
    "two links of one name": (
        TOPOLOGY,
        "  b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}\nswitches: [s1]\nlinks:\n",
        "  b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}\n  b-a: {model: zoo/beta, cpus: 0.3, memory: 160MiB}\n"
        "  a-b: {model: zoo/beta, cpus: 0.3, memory: 160MiB}\nswitches: [s1]\nlinks:\n  - endpoints: [a, b-a]\n"
        "  - endpoints: [a-b, a]\n",
        "[a-b, a]",
        "links[1]",
        "would be called 'a-b-a', as links[0] is; swap the ends of one",
    ),
    "link to itself": (
        TOPOLOGY,
        "[b, s1]",
        "[b, s1]\n  - endpoints: [b, b]",
        "[b, b]",
        "links[2].endpoints",
        "links 'b' to itself; name two different ends",
    ),
    "link with one end": (TOPOLOGY, "[b, s1]", "[b]", "[b]", "links[1].endpoints", "at least 2 items"),
    "loop of switches": (
        TOPOLOGY,
        "[s1]\nlinks:",
        "[s1, s2]\nlinks:\n  - endpoints: [s1, s2]\n  - endpoints: [s2, s1]",
        "[s2, s1]",
        "links[1]",
        "closes a loop of switches; leave one of its links out",
    ),
    "bad node name": (TOPOLOGY, "  a:", "  Node_A:", "Node_A", "nodes.Node_A", "small letters, digits"),
    "bad switch name": (TOPOLOGY, "[s1]\n", "[switch-1]\n", "[switch-1]", "switches[0]", "a letter and at most seven"),
    "bad scenario name": (SCENARIO, "name: small", "name: My Run", "My Run", "name", "like my-run"),
    "pattern that is a word": (
        SCENARIO,
        "pattern: {kind: gossip-moa, layers: 1, proposers: 1, timeout: 2s}",
        "pattern: gossip-moa",
        "pattern:",
        "pattern",
        "must hold keys and values",
    ),
    "unknown pattern": (
        SCENARIO,
        "gossip-moa",
        "gossip",
        "gossip",
        "pattern.kind",
        "should be one of 'alone', 'best-of', 'cascade'",
    ),
    "unknown metric": (
        SCENARIO,
        "completed:",
        "finished:",
        "finished",
        "expect.finished",
        "nodes, accuracy, ",
    ),
    "near miss of a metric": (SCENARIO, "completed:", "complete:", "complete:", "expect.complete", "mean `completed`?"),
    "malformed bound": (SCENARIO, ">= 0.95", "most", "most", "expect.completed", 'a bound, like "< 3"'),
    "bound without unit": (SCENARIO, "< 15s", "< 15", "< 15", "expect.latency.p95", "15 has no unit"),
    "bound that is a number": (SCENARIO, '">= 0.95"', "0.95", "0.95", "expect.completed", "and text is wanted"),
    "wrong type": (SCENARIO, "count: 6", "count: six", "six", "workload.count", "should be a valid integer"),
    "too small": (SCENARIO, "count: 6", "count: 0", "count: 0", "workload.count", "greater than or equal to 1"),
    "endless CPU": (
        TOPOLOGY,
        "zoo/beta, cpus: 0.3",
        "zoo/beta, cpus: .inf",
        ".inf",
        "nodes.b.cpus",
        "should be a finite number",
    ),
    "unknown model prefix": (
        TOPOLOGY,
        "zoo/alpha",
        "gguf:alpha",
        "gguf:alpha",
        "nodes.a.model",
        "must be NAME of `testbed models`, hf:OWNER/REPO[@REVISION]/FILE.gguf, path:FILE.gguf",
    ),
    "topology that is missing": (
        SCENARIO,
        "topology.yaml",
        "nowhere.yaml",
        "nowhere",
        "topology",
        "there is no file ",
    ),
    "topology whose name no file can have": (
        SCENARIO,
        "topology.yaml",
        "n" * 300,
        "nnnn",
        "topology",
        "there is no file ",
    ),
    "topology that is a number": (SCENARIO, "topology.yaml", "7", "topology", "topology", "must hold keys and values"),
    "queue without room": (
        SCENARIO,
        "seed: 3",
        "queue: {limit: 0}",
        "queue:",
        "queue.limit",
        "greater than or equal to 1",
    ),
    "unknown overflow": (
        SCENARIO,
        "seed: 3",
        "queue: {overflow: drop-newest}",
        "queue:",
        "queue.overflow",
        "'reject' or 'drop-oldest'",
    ),
    "no attempt": (
        SCENARIO,
        "seed: 3",
        "retry: {attempts: 0}",
        "retry:",
        "retry.attempts",
        "greater than or equal to 1",
    ),
    "near miss in membership": (
        SCENARIO,
        "seed: 3",
        "membership: {perod: 1s}",
        "membership:",
        "membership.perod",
        "did you mean `period`?",
    ),
    "no time for the helpers": (
        SCENARIO,
        "seed: 3",
        "membership: {period: 1s, timeout: 1s}",
        "membership:",
        "membership",
        "`timeout` must be shorter than `period`",
    ),
    "more proposers than neighbours": (
        SCENARIO,
        "proposers: 1",
        "proposers: 2",
        "pattern",
        "pattern",
        "needs 2 neighbours for each node; 'a' lacks 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_with_its_line(
    mistake: str, files: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, right, wrong, at_fault, key, sentence = MISTAKES[mistake]
    text = {SCENARIO: files.scenario, TOPOLOGY: files.topology}[name]
    assert text.count(right) == 1, "the replacement must be what it says"
    broken = text.replace(right, wrong)
    path = files.write(**{Path(name).stem: broken})

    code, lines = _validate(path, capsys, monkeypatch)

    assert code == 2
    assert len(lines) == 1, lines
    place = f"{files.directory / name}:{_line_of(broken, at_fault)}: {key}{': ' if key else ''}"
    assert lines[0].startswith(place)
    assert sentence in lines[0].removeprefix(place)


@pytest.mark.parametrize(
    ("content", "place", "sentence"),
    [
        (b"", ":1: ", "must hold keys and values, like `name: my-run`"),
        (b"# only a comment\n", ":1: ", "must hold keys and values, like `name: my-run`"),
        (b"- a\n- list\n", ":1: ", "must hold keys and values, like `name: my-run`"),
        (bytes(range(128, 256)), ": ", "cannot be read"),
        (b"name: a\0b\n", ": ", "is not valid YAML"),
        (b"name: 2024-99-99\n", ": ", "is not valid YAML: month must be in 1..12"),
        (b"seed: " + b"9" * 5000, ": ", "is not valid YAML: "),
        (b"seed: !!int\n", ": ", "is not valid YAML: "),
        (b"seed: !!set 1\n", ": ", "is not valid YAML: "),
        (b"expect: " + b"[" * 1000 + b"]" * 1000, ": ", "is not valid YAML: "),
        (b"name: a\n---\nname: b\n", ":2: ", "another document"),
    ],
    ids=[
        "empty",
        "comment",
        "list",
        "binary",
        "nul",
        "no date",
        "many digits",
        "no number",
        "no set",
        "too deep",
        "two documents",
    ],
)
def test_a_file_that_is_no_scenario(
    content: bytes,
    place: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / SCENARIO
    path.write_bytes(content)
    code, lines = _validate(path, capsys, monkeypatch)
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"{path}{place}")
    assert sentence in lines[0]


def test_a_file_that_is_missing_or_a_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, lines = _validate(tmp_path / "none.yaml", capsys, monkeypatch)
    assert (code, lines) == (2, [f"{tmp_path}/none.yaml: there is no such file"])
    code, lines = _validate(tmp_path, capsys, monkeypatch)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"{tmp_path}: cannot be read: ")


def test_a_topology_file_is_not_a_scenario(
    files: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write().with_name(TOPOLOGY)
    code, lines = _validate(path, capsys, monkeypatch)
    hint = f"a scenario names it: `topology: {TOPOLOGY}`; to draw it: testbed topology {path}"
    assert (code, lines) == (2, [f"{path}: is a topology file, not a scenario; {hint}"])


@pytest.mark.parametrize("name", ["a-s1", "a ↔ s1", "0"])
def test_an_assignment_names_a_link_as_it_is_printed(name: str, files: Any) -> None:
    scenario = load_checked(files.write(), [f"links.{name}.delay=77ms"])
    assert [link.up.delay for link in scenario.topology.resolved_links if link.a == "a"] == [0.077]


def test_an_assignment_finds_files_from_the_working_directory(
    files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    text = path.with_name(TOPOLOGY).read_text(encoding="utf-8")
    (elsewhere / "mine.yaml").write_text(re.sub("name: .*", "name: mine", text, count=1), encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    assert load_checked(path, ["topology=mine.yaml"]).topology.name == "mine"


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("seed", "--set: 'seed' must read KEY=VALUE, like pattern.layers=2"),
        ("=3", "--set: '=3' must read KEY=VALUE, like pattern.layers=2"),
        ("a..b=3", "--set: 'a..b=3' must read KEY=VALUE, like pattern.layers=2"),
        ("seed=[1", "--set: '[1' is not a YAML value"),
        ("seed=2024-99-99", "--set: '2024-99-99' is not a YAML value"),
        (
            "workloads.count=3",
            "--set: there is no key `workloads.count` in a scenario; did you mean `workload.count`?",
        ),
        (
            "topology.links.9.delay=1ms",
            "--set: topology.links.9.delay: `9` must be the number of an entry, from 0 to 1, or a link of a-s1, b-s1",
        ),
        (
            "links.a-x.delay=1ms",
            "--set: topology.links.a-x.delay: `a-x` must be the number of an entry, from 0 to 1, "
            "or a link of a-s1, b-s1",
        ),
        ("name.first=x", "--set: name.first: `name` has no keys of its own in the file"),
        ("pattern.layer=2", "{path}: pattern.layer: there is no such key here; did you mean `layers`?"),
        ("seed=-1", "{path}: seed: `-1` is wrong: input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_assignment(
    assignment: str,
    line: str,
    files: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = files.write()
    assert _validate(path, capsys, monkeypatch, "--set", assignment) == (2, [line.format(path=path)])


def test_all_mistakes_of_both_files_come_at_once(
    files: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = files.scenario.replace("count: 6", "count: 0").replace("completed", "finished").replace("seed", "sed")
    topology = files.topology.replace("10mbit", "10MBps").replace("zoo/beta", "beta")
    code, lines = _validate(files.write(scenario, topology), capsys, monkeypatch)
    assert code == 2
    places = [re.fullmatch(r"(.*\.yaml):(\d+): ([^:]*): .+", line) for line in lines]
    assert [(Path(place[1]).name, int(place[2]), place[3]) for place in places if place] == [
        (SCENARIO, _line_of(scenario, "sed: 3"), "sed"),
        (SCENARIO, _line_of(scenario, "count: 0"), "workload.count"),
        (SCENARIO, _line_of(scenario, "finished"), "expect.finished"),
        (TOPOLOGY, _line_of(topology, "10MBps"), "defaults.link.bandwidth"),
        (TOPOLOGY, _line_of(topology, "beta"), "nodes.b.model"),
    ]


def test_mistakes_between_the_parts_of_one_file_do_not_hide_those_of_the_other(
    files: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = files.scenario.replace("count: 6", "count: 0")
    topology = files.topology.replace("[b, s1]", "[b, s7]")
    _, lines = _validate(files.write(scenario, topology), capsys, monkeypatch)
    assert len(lines) == 2
    assert "workload.count" in lines[0]
    assert "there is no node or switch 's7'" in lines[1]


def test_every_scenario_is_checked_even_after_a_bad_one(files: Any) -> None:
    good = files.write()
    bad = files.directory / "bad.yaml"
    bad.write_text("name: 5\n")
    outcome = _shell("validate", "bad.yaml", "none.yaml", good.name, cwd=files.directory)
    assert outcome.returncode == 2
    assert outcome.stdout == "scenario.yaml: valid\n"
    assert "bad.yaml:1: name: `5` is no text" in outcome.stderr
    assert "none.yaml: there is no such file" in outcome.stderr
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [("nodes.a.cpus=4000", "the nodes ask for 400"), ("nodes.a.memory=9000000GiB", "of memory and this host has")],
)
def test_what_is_valid_and_too_large_for_this_host_ends_with_code_3(files: Any, assignment: str, sentence: str) -> None:
    outcome = _shell("validate", files.write().name, "--set", assignment, cwd=files.directory)
    assert (outcome.returncode, outcome.stdout) == (3, "scenario.yaml: valid\n")
    assert sentence in outcome.stderr


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (SCENARIO, "count: 6", "count: [6"),
        (SCENARIO, "proposers: 1", "proposers: 9"),
        (TOPOLOGY, "delay: 10ms", "delay: 10"),
        (TOPOLOGY, "[b, s1]", "[b, s7]"),
    ],
)
def test_the_command_itself_ends_with_code_2_and_no_traceback(files: Any, name: str, right: str, wrong: str) -> None:
    text = {SCENARIO: files.scenario, TOPOLOGY: files.topology}[name]
    path = files.write(**{Path(name).stem: text.replace(right, wrong)})
    outcome = _shell("validate", path.name, cwd=files.directory)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    assert re.match(rf"{name}:\d+: ", outcome.stderr)


def test_a_long_sentence_stays_on_one_line_where_there_is_no_terminal(files: Any) -> None:
    """What reads a log line by line must find file, line and sentence together."""
    files.write(scenario=files.scenario.replace("completed", "finished"))
    outcome = _shell("validate", SCENARIO, cwd=files.directory)
    assert len(outcome.stderr.splitlines()) == 1


def test_an_unknown_option_or_verb_ends_with_code_2(tmp_path: Path) -> None:
    for arguments in (["validate"], ["validate", "--sed", "x"], ["vaildate", "x"]):
        outcome = _shell(*arguments, cwd=tmp_path)
        assert outcome.returncode == 2
        assert "Traceback" not in outcome.stderr


IS_NO_TEXT = "`{}` is no text in YAML, and text is wanted; as a name it needs quotes"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        *((name, IS_NO_TEXT.format(name)) for name in ("1", "1.5", "true", "2024-01-01")),
        ("null", "nothing is here, and text is wanted; the name `null` needs quotes"),
    ],
)
def test_a_name_that_yaml_takes_for_a_value_is_to_be_quoted(written: str, sentence: str, files: Any) -> None:
    files.write(topology=files.topology.replace("a: {", f"{written}: {{", 1))
    outcome = _shell("validate", SCENARIO, cwd=files.directory)
    assert outcome.returncode == 2
    assert sentence in outcome.stderr


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("{kind: gossip-moa, layers: 1, proposers: 1}", 170),  # two responses and an answer in 512 tokens
        ("{kind: gossip-moa, layers: 1, proposers: 1, aggregate: vote}", 512),
        ("{kind: gossip-moa, layers: 2, proposers: 1, aggregate: vote}", 170),
        ("{kind: debate}", 170),
        ("{kind: hierarchy}", 256),
        ("{kind: vote}", 512),
    ],
)
def test_responses_that_overflow_the_context_are_refused(pattern: str, fits: int, files: Any) -> None:
    assert files.load(f"pattern={pattern}", f"sampling.max_tokens={fits}").sampling.max_tokens == fits
    if fits < 512:
        with pytest.raises(SpecError, match="and its context holds 512; give it more `context`"):
            files.load(f"pattern={pattern}", f"sampling.max_tokens={fits + 1}")
