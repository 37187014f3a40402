"""The page of a run: what it says, that it needs nothing else, and that what models write stays text."""

import base64
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from playing import play, played, scenario

from testbed import cli
from testbed.analysis.measurements import Measurements
from testbed.analysis.recorded import RunFiles
from testbed.show.axis import ticks
from testbed.show.report import write_report
from testbed.show.report.lines import COLUMNS, step_path, thinned
from testbed.show.report.prompt_rows import prompt_rows

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>' \" {{ 7 * 7 }} &amp; \u202e"


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, the text of each, and the cells of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = self.script = ""
        self._within: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._within[-1:] == ["script"]:
            self.script += data
        elif "style" not in self._within:
            self.text += data
            if {"td", "th"} & set(self._within):
                self.rows[-1][-1] += data

    def row(self, heading: str) -> list[str]:
        """The first row that begins so."""
        return next(row for row in self.rows if row[0] == heading)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a partition and a crash, and its page."""
    path = played(scenario(prompts=60, rate=1), tmp_path_factory.mktemp("runs") / "simulated")
    write_report(path)
    return path


@pytest.fixture(scope="module")
def page(directory: Path) -> Page:
    return Page(directory / "report.html")


def _rewritten(directory: Path, copy: Path, change: Callable[[dict[str, object]], object]) -> Page:
    """The page of a run whose events were changed."""
    shutil.copytree(directory, copy)
    lines = (copy / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        change(event)
    (copy / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    write_report(copy)
    return Page(copy / "report.html")


def test_the_verdict_comes_with_its_reasons(directory: Path, page: Page) -> None:
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["verdict"] == "failed"
    assert "✗ failed" in page.text
    assert all(reason in page.text for reason in summary["reasons"])
    completed = summary["metrics"]["completed"]
    assert page.row("completed") == ["completed", ">= 1", f"{100 * completed:.3g} %", "✗ not held"]


def test_every_prompt_is_there_with_its_answer(directory: Path, page: Page) -> None:
    measured = RunFiles.load(directory).measured
    assert len(measured.failures) > 0
    for prompt, event in measured.prompts.items():
        answer = measured.answers.get(prompt)
        name, _, owner, question, said, truth, outcome, *_ = page.row(prompt)
        assert (name, owner, question, truth) == (prompt, event["owner"], event["text"], event["truth"])
        assert said == (measured.failures[prompt] if answer is None else answer["text"])
        right = answer is not None and answer["text"].startswith(event["truth"])
        assert outcome == ("no answer" if answer is None else "right" if right else "wrong")


def test_every_prompts_way_says_who_was_asked_what_each_said_and_what_decided() -> None:
    events = play(scenario(prompts=20))
    measured = Measurements(events, {})
    decision = {"from": "n1", "to": "n2", "score": -0.5, "threshold": -0.4, "propensity": None, "reason": "not sure"}
    decided = {"t": 1e6, "node": "n1", "event": "decision", "prompt": "p1", **decision}
    rows = {row.name: row for row in prompt_rows(Measurements([*events, decided], {}), {})}
    assert (rows["p1"].way[-1].who, rows["p1"].way[-1].what) == ("n1", "to n2")
    assert rows["p1"].way[-1].said == "not sure, score -0.5, threshold -0.4"
    prompt = max(measured.answers, key=lambda name: len(rows[name].way))
    done = {e["job"]: e for e in events if e["event"] == "end" and e["job"].startswith(f"{prompt}.")}
    said = [(step.who, step.said) for step in rows[prompt].way if "layer" in step.what and step.said != "no answer"]
    assert sorted(said) == sorted((event["node"], event["text"]) for event in done.values())
    truth = measured.prompts[prompt]["truth"]
    judged = [step for step in rows[prompt].way if step.right is not None]
    assert judged and all(step.right == (step.said.split(",")[0] == truth) for step in judged)


def test_an_answer_whose_truth_nobody_knows_is_not_judged() -> None:
    unjudged = {"prompt": {"truth": None}, "score": {"value": None, "reason": "the question has no truth"}}
    events = [event | unjudged.get(event["event"], {}) for event in play(scenario(prompts=20))]
    rows = list(prompt_rows(Measurements(events, {}), {}))
    assert {(row.truth, row.outcome) for row in rows} == {(None, "not judged"), (None, "no answer")}


def test_every_link_is_there_as_asked_and_as_measured(page: Page) -> None:
    for node in ("n1", "n2", "n3", "n4"):
        for heading in (f"{node} → s1", f"s1 → {node}"):
            assert page.row(heading)[1:4] == ["10 ms", "10.2 ms", "–"]
            assert page.row(heading)[7:9] == ["10 mbit", "9.99 mbit"]


def test_faults_are_shaded_while_they_were_in_force(directory: Path, page: Page) -> None:
    faults = RunFiles.load(directory).faults
    shades = [attributes for tag, attributes in page.elements if tag == "rect" and attributes.get("height") == "1"]
    assert len(shades) == len(faults) == 2
    for fault, shade in zip(faults, shades, strict=True):
        assert fault.began is not None and fault.ended is not None
        assert float(shade["x"] or 0) == pytest.approx(fault.began)
        assert float(shade["width"] or 0) == pytest.approx(fault.ended - fault.began)
    uses = [attributes for tag, attributes in page.elements if tag == "use"]
    assert uses == [{"href": "#faults"}] * 3 * 4


def _lane(page: Page, node: str, kind: str) -> list[tuple[float, float]]:
    """The steps that are drawn, in units of the data."""
    plot = page.elements.index(next(e for e in page.elements if e[1].get("aria-labelledby") == f"{node}.{kind}"))
    line = next(attributes for tag, attributes in page.elements[plot:] if attributes.get("class") == "line")
    return [(float(t), float(value)) for t, value in re.findall(r"H([^HV]+)V([^HV]+)", line["d"] or "")]


def test_the_queues_that_are_drawn_are_those_of_the_run(directory: Path, page: Page) -> None:
    measured = RunFiles.load(directory).measured
    for node, queue in measured.queues().items():
        drawn = _lane(page, node, "queue")
        assert max(length for _, length in drawn) == queue.max
        assert drawn[-1] == (pytest.approx(measured.duration, abs=0.01), 0)


def test_the_area_under_tokens_per_second_is_all_tokens(directory: Path, page: Page) -> None:
    run = RunFiles.load(directory)
    for node, told in run.summary["nodes"].items():
        drawn = _lane(page, node, "tokens")
        area = sum(rate * (then - now) for (now, rate), (then, _) in pairwise(drawn))
        assert area == pytest.approx(told["tokens"], rel=0.05)  # of a job that was cut off nobody knows the tokens


def test_a_node_that_ended_has_no_memory(page: Page) -> None:
    assert min(used for t, used in _lane(page, "n4", "memory")[1:-1]) == 0
    assert min(used for t, used in _lane(page, "n1", "memory")[1:-1]) > 0


def test_the_page_needs_nothing_else(page: Page) -> None:
    loaded = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
        and not str(value).startswith("#")
    ]
    assert loaded == []
    assert "url(" not in page.source and "@import" not in page.source
    assert [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "form", "base")] == []


def test_only_the_pages_own_script_may_run(page: Page) -> None:
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def test_what_models_and_users_write_stays_text(directory: Path, tmp_path: Path, page: Page) -> None:
    def make_hostile(event: dict[str, object]) -> None:
        for key in event.keys() & {"text", "truth", "reason"}:
            event[key] = HOSTILE

    hostile = _rewritten(directory, tmp_path / "hostile", make_hostile)
    assert [tag for tag, _ in hostile.elements].count("script") == 1
    assert hostile.script == page.script
    assert [tag for tag, _ in hostile.elements if tag == "img"] == []
    assert {name for _, attributes in hostile.elements for name in attributes if name.startswith("on")} == set()
    row = hostile.row("p1")
    assert (row[3], row[4], row[5]) == (HOSTILE, HOSTILE, HOSTILE)


def test_hostile_words_in_the_summary_and_the_files_stay_text(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "hostile"
    shutil.copytree(directory, copy)
    for name, key in (("summary.json", "reasons"), ("manifest.json", "host")):
        content = json.loads((copy / name).read_text())
        content[key] = [HOSTILE] if key == "reasons" else {**content[key], HOSTILE: HOSTILE}
        (copy / name).write_text(json.dumps(content))
    topology = (copy / "scenario.yaml").read_text().replace("name: star", f"name: {json.dumps(HOSTILE)}")
    (copy / "scenario.yaml").write_text(topology)
    write_report(copy)
    hostile = Page(copy / "report.html")
    assert [tag for tag, _ in hostile.elements].count("script") == 1
    assert [tag for tag, _ in hostile.elements if tag == "img"] == []
    assert hostile.text.count("alert(1)") == 4  # a reason, a figure's name and value, the topology's name


def test_a_page_follows_from_the_directory_alone(directory: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(directory, moved)
    for name in ("report.html", "trace.json"):
        (moved / name).unlink()
    write_report(moved)
    for name in ("report.html", "trace.json"):
        assert (moved / name).read_bytes() == (directory / name).read_bytes()


def test_a_run_in_which_nothing_happened_has_a_page(directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "nothing"
    shutil.copytree(directory, copy)
    (copy / "events.jsonl").write_text("")
    summary = json.loads((copy / "summary.json").read_text())
    summary |= {"verdict": "interrupted", "reasons": ["the run did not play to its end"], "nodes": {}, "links": {}}
    summary["fidelity"] |= {"verdict": "unmeasured", "links": None, "host": None, "health": None}
    summary["metrics"] = {**dict.fromkeys(summary["metrics"]), "prompts": 0}
    (copy / "summary.json").write_text(json.dumps(summary))
    write_report(copy)
    empty = Page(copy / "report.html")
    assert "! interrupted" in empty.text
    assert "No prompt was answered." in empty.text


def test_lines_are_thinned_out_to_what_can_be_seen() -> None:
    steps = [(number / 1000, float(number % 7)) for number in range(100_000)]
    steps[54_321] = (54.321, 1000.0)
    steps[12_345] = (12.345, -1000.0)
    kept = list(thinned(steps, 100.0))
    assert len(kept) <= 4 * COLUMNS
    assert {max(kept, key=lambda step: step[1])[1], min(kept, key=lambda step: step[1])[1]} == {1000.0, -1000.0}
    assert kept == sorted(kept, key=lambda step: step[0])
    few = [(0.5, 1.0), (7.0, 2.0), (7.1, 1.0)]
    assert list(thinned(few, 10.0)) == few


def test_a_step_path_holds_the_steps_as_they_are() -> None:
    assert step_path([(0.0, 0), (1.25, 2), (3.5, 2), (4.0, 0.125)], 10.0) == "M0 0H1.250V2H4.000V0.125H10.000V0"
    assert step_path([], 0.0) == "M0 0H0V0"


@pytest.mark.parametrize(
    ("end", "most", "expected"),
    [(20.2, 8, [0, 5, 10, 15, 20]), (61.3, 8, [0, 10, 20, 30, 40, 50, 60]), (0.3, 4, [0, 0.1, 0.2, 0.3]), (0, 8, [0])],
)
def test_axes_are_marked_at_round_values(end: float, most: int, expected: list[float]) -> None:
    assert ticks(end, most) == pytest.approx(expected)


def _call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> object:
    """Call ``testbed report``; its exit code."""
    monkeypatch.setattr(sys, "argv", ["testbed", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_the_command_makes_the_page_and_the_trace_again(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        shutil.copytree(directory, tmp_path / "runs" / f"seed-{seed}")
        (tmp_path / "runs" / f"seed-{seed}" / "report.html").write_text("old")
    assert _call(monkeypatch, tmp_path / "runs") == 0
    pages = [tmp_path / "runs" / f"seed-{seed}" / "report.html" for seed in (1, 2)]
    assert capsys.readouterr().out.splitlines() == list(map(str, pages))
    assert all(page.read_bytes() == (directory / "report.html").read_bytes() for page in pages)


def test_the_command_compares_several_runs(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = played(scenario(prompts=60, rate=1, layers=2), tmp_path / "more layers")
    comparison = tmp_path / "comparison.html"
    assert _call(monkeypatch, directory, other, "--out", comparison) == 0
    assert capsys.readouterr().out == f"{comparison}\n"
    page = Page(comparison)
    worse = page.row("latency.mean")
    assert worse[-1] == "worse"
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert [(comparison.parent / str(link)).resolve() for link in links] == [directory / "report.html"]
    assert [row[0] for row in page.rows[-2:]] == ["simulated", "more layers"]
    assert page.row("simulated")[1:5] == ["base", "7", "failed", "valid"]


def test_what_cannot_be_reported_is_refused(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(*arguments: str | Path) -> str:
        assert _call(monkeypatch, *arguments) == 2
        (sentence,) = capsys.readouterr().err.splitlines()
        return sentence

    assert "nowhere: there is no such directory" in refusal(tmp_path / "nowhere")
    assert refusal(directory, "--out", tmp_path / "x.html").startswith("--out: is for comparisons")
    assert "x.html: cannot be written" in refusal(directory, directory, "--out", tmp_path / "no" / "x.html")
    half = tmp_path / "half"
    shutil.copytree(directory, half)
    (half / "samples.parquet").write_text("")
    assert "half: is not the directory of a whole run" in refusal(half)
    shutil.copy(directory / "samples.parquet", half)
    (half / "scenario.yaml").unlink()
    assert "scenario.yaml: there is no such file" in refusal(half)
