"""Arrival processes: rates, burstiness, closed loops, recorded traces, and what theory says of each."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_cpp import Llama

from testbed.analysis.queues.figures import ExpectedLoad
from testbed.core.errors import SpecError
from testbed.models import zoo
from testbed.node.engine.chat import Chat
from testbed.schema.workload import Workload
from testbed.workload.schedule import Arrival

GAPS = 10_000
NODES = ["a", "b", "c"]
Simulation = Callable[[np.random.Generator, int], Any]


def _arrivals(process: str, options: dict[str, Any], count: int, nodes: list[str], seed: int = 5) -> list[Arrival]:
    arrivals = {"process": process, **options}
    written = {"prompts": "worldfacts", "arrivals": arrivals, "count": count}
    return Workload.model_validate(written, context={"": Path()}).schedule(nodes, seed)


def _poisson(generator: np.random.Generator, runs: int) -> Any:
    return generator.exponential(1 / 2, (runs, GAPS))


def _gamma(shape: float) -> Simulation:
    return lambda generator, runs: generator.gamma(shape, 1 / (2 * shape), (runs, GAPS))


def _interrupted(generator: np.random.Generator, runs: int) -> Any:
    """Gaps of an interrupted Poisson process are hyperexponential (Kuczura 1973): here with on 1 s, off 3 s, 8/s."""
    rate, end, begin = 8.0, 1.0, 1 / 3.0
    total = rate + end + begin
    root = np.sqrt(total**2 - 4 * rate * begin)
    fast, slow = (total + root) / 2, (total - root) / 2
    share = (rate - slow) / (fast - slow)
    scales = np.where(generator.random((runs, GAPS)) < share, 1 / fast, 1 / slow)
    return generator.exponential(1.0, (runs, GAPS)) * scales


@pytest.mark.parametrize(
    ("process", "options", "simulation"),
    [
        ("poisson", {}, _poisson),
        ("gamma", {"shape": 1.0}, _poisson),
        ("gamma", {"shape": 0.25}, _gamma(0.25)),
        ("gamma", {"shape": 1 / 13**2}, _gamma(1 / 13**2)),
        ("gamma", {"shape": 16.0}, _gamma(16.0)),
        ("on-off", {"on": "1s", "off": "3s"}, _interrupted),
    ],
)
def test_rate_and_variation_of_gaps_are_those_of_a_simulated_process(
    process: str, options: dict[str, Any], simulation: Simulation
) -> None:
    times = [arrival.at for arrival in _arrivals(process, {"rate": "2/s", **options}, GAPS + 1, ["a"])]
    gaps = np.diff(times)
    simulated = simulation(np.random.default_rng(1), 60)
    means, spread = simulated.mean(axis=1), simulated.std(axis=1) / simulated.mean(axis=1)
    for measured, of_runs in ((gaps.mean(), means), (gaps.std() / gaps.mean(), spread)):
        assert abs(measured - of_runs.mean()) < 3 * of_runs.std(ddof=1)


def test_constant_gaps_are_all_equal_and_nodes_are_not_in_step() -> None:
    arrivals = _arrivals("constant", {"rate": "4/s"}, 300, NODES)
    times = {node: [arrival.at for arrival in arrivals if arrival.node == node] for node in NODES}
    assert all(later - earlier == pytest.approx(0.25) for own in times.values() for earlier, later in pairwise(own))
    assert len({own[0] for own in times.values()}) == 3
    assert all(own[0] < 0.25 for own in times.values())


def test_nodes_can_have_rates_of_their_own() -> None:
    arrivals = _arrivals("poisson", {"rate": "1/s", "rates": {"b": "4/s"}}, 6000, NODES)
    counts = {node: sum(arrival.node == node for arrival in arrivals) for node in NODES}
    assert counts["a"] == pytest.approx(1000, abs=100)
    assert counts["b"] == pytest.approx(4000, abs=130)
    assert {arrival.node for arrival in _arrivals("constant", {"rates": {"b": "4/s"}}, 20, NODES)} == {"b"}


def test_all_at_once_is_when_play_begins() -> None:
    arrivals = _arrivals("at-once", {}, 6, NODES)
    assert [(arrival.at, arrival.node) for arrival in arrivals] == [(0.0, node) for node in NODES * 2]


def test_a_user_of_a_closed_loop_asks_after_its_own_last_prompt() -> None:
    arrivals = _arrivals("closed", {"users": 2, "think": "500ms"}, 600, NODES)
    by_name = {arrival.prompt: arrival for arrival in arrivals}
    first, later = [one for one in arrivals if one.after is None], [one for one in arrivals if one.after is not None]
    assert sorted(one.node for one in first) == sorted(NODES * 2)
    assert all(by_name[one.after or ""].node == one.node for one in later)
    assert len({one.after for one in later}) == len(later), "nobody asks twice after one prompt"
    assert np.mean([one.at for one in later]) == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(len(later)))


def test_a_trace_is_replayed_at_its_offsets_with_owners_of_the_seed(tmp_path: Path) -> None:
    trace = tmp_path / "azure.csv"
    rows = ("2023-11-16 18:17:03.9799600,40,1", "2023-11-16 18:17:04.0319600,31,8", "2023-11-16 18:17:06.0319600,1,2")
    trace.write_text("\n".join(("TIMESTAMP,ContextTokens,GeneratedTokens", *rows)))
    arrivals = _arrivals("trace", {"file": str(trace)}, 3, NODES)
    assert [arrival.at for arrival in arrivals] == pytest.approx([0.0, 0.052, 2.052], abs=1e-6)
    slower = _arrivals("trace", {"file": str(trace), "scale": 10.0}, 2, NODES)
    assert [arrival.at for arrival in slower] == pytest.approx([0.0, 0.52], abs=1e-5)
    owners = {
        tuple(arrival.node for arrival in _arrivals("trace", {"file": str(trace)}, 3, NODES, s)) for s in (1, 1, 2, 3)
    }
    assert 1 < len(owners) < 4


@pytest.mark.parametrize(
    "text",
    [
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,4,2,6,API\n50,GPT-4,1,1,2,x\n",
        '{"timestamp": 5, "input_length": 6755, "output_length": 500, "hash_ids": []}\n{"timestamp": 50}\n',
        "\ufefftimestamp,x\n1700000005.0,1\n1700000050.0,1\n",
        'timestamp\n"2024-05-10 00:00:05+00:00"\n2024-05-10T00:00:50Z\n',
    ],
)
def test_the_headers_of_known_traces_are_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "trace").write_text(text)
    arrivals = _arrivals("trace", {"file": str(tmp_path / "trace")}, 2, ["a"])
    assert [arrival.at for arrival in arrivals] == [0.0, 45.0]


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("", "", "has no rows"),
        ("timestamp\n", "", "has no rows"),
        ("timestamp\n1\n3\n2\n", "", "line 4: 2 is before the row above; times must not fall"),
        ("when,x\n1,2\n", "", "does not say which column is the time; name it with `time:`; there are 'when', 'x'"),
        ("when,x\n1,2\n", ", time: then", "has no column 'then'; there are 'when', 'x'"),
        ("timestamp\n1\nsoon\n", "", "line 3: 'soon' is no time; write seconds, or a date and a time"),
        ("timestamp\n1\nnan\n", "", "line 3: 'nan' is no time"),
        ("timestamp,x\n1,2\n\n,3\n", "", "line 4: '' is no time"),
        ("timestamp\n1\n2\n", "", "has 2 rows, which are fewer than the 12 prompts of `count`"),
        ('{"timestamp": 1}\n[2]\n', "", "line 2: is no JSON object"),
        (None, "", "there is no file"),
    ],
)
def test_a_wrong_trace_is_one_sentence_before_anything_starts(
    files: Any, tmp_path: Path, text: str | None, options: str, sentence: str
) -> None:
    if text is not None:
        (tmp_path / "trace.csv").write_text(text)
    assignment = f"workload.arrivals={{process: trace, file: ./trace.csv{options}}}"
    with pytest.raises(SpecError) as refused:
        files.load(assignment, "workload.count=12")
    (line,) = str(refused.value).splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n5,40,1\n50,31,8\n", ""),
        ("Timestamp,Model,Request tokens,Response tokens,Total tokens\n5,GPT-4,40,1,41\n50,GPT-4,31,8,39\n", ""),
        (
            '{"timestamp": 5, "input_length": 40, "output_length": 1}\n'
            '{"timestamp": 6, "input_length": 31, "output_length": 8}\n',
            "",
        ),
        ("timestamp,i,o\n5,40,1\n50,31,8\n", ", input: i, output: o"),
    ],
)
def test_prompts_and_answers_are_as_long_as_a_trace_says(files: Any, tmp_path: Path, text: str, options: str) -> None:
    (tmp_path / "trace.csv").write_text(text)
    trace = f"workload.arrivals={{process: trace, file: ./trace.csv{options}}}"
    scenario = files.load(trace, "workload.count=2", "workload.prompts=filler")
    arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    assert [(len(one.question.text.split()), one.question.tokens) for one in arrivals] == [(40, 1), (31, 8)]
    chat = Chat(Llama(str(zoo.path("alpha")), vocab_only=True, verbose=False))
    read = [len(chat.tokenize([{"role": "user", "content": one.question.text}])) for one in arrivals]
    assert read[0] - read[1] == 40 - 31


@pytest.mark.parametrize(
    ("arrivals", "text", "sentence"),
    [
        ("{process: poisson, rate: 1/s}", "", "`poisson` says nothing of lengths"),
        ("{process: trace, file: ./trace.csv}", "timestamp,i\n1,2\n2,3\n", "does not say which column is the input"),
        (
            "{process: trace, file: ./trace.csv, input: i, output: o}",
            "timestamp,i,o\n1,2,3\n2,3,0\n",
            "line 3: o is '0'; it must be a number of tokens from 1",
        ),
        (
            "{process: trace, file: ./trace.csv, input: i, output: o}",
            "timestamp,i,o\n1,2,3\n2,500,13\n",
            "'a' has a context of 512 for a prompt of 500 tokens and its answer of 13",
        ),
    ],
)
def test_lengths_that_cannot_be_played_are_refused(
    files: Any, tmp_path: Path, arrivals: str, text: str, sentence: str
) -> None:
    (tmp_path / "trace.csv").write_text(text)
    with pytest.raises(SpecError) as refused:
        files.load(f"workload.arrivals={arrivals}", "workload.count=2", "workload.prompts=filler")
    (line,) = str(refused.value).splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("arrivals", "sentence"),
    [
        ("{process: poisson}", "`rate` is missing"),
        ("{process: gamma, rate: 1/s, shape: 0}", "greater than 0"),
        ("{process: poisson, rates: {nobody: 1/s}}", "'nobody' is none of them"),
        ("{process: closed, users: 0, think: 1s}", "greater than or equal to 1"),
        ("{process: closed, users: 2}", "`think` is missing"),
    ],
)
def test_wrong_options_are_refused(files: Any, arrivals: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        files.load(f"workload.arrivals={arrivals}")


@pytest.mark.parametrize(
    ("arrivals", "rate", "memoryless"),
    [
        ("{process: poisson, rate: 2/s}", 2.0, True),
        ("{process: poisson, rate: 2/s, rates: {a: 1/s}}", None, True),
        ("{process: poisson, rates: {a: 1/s}}", None, True),
        ("{process: gamma, rate: 2/s, shape: 0.1}", 2.0, False),
        ("{process: on-off, rate: 2/s, on: 1s, off: 1s}", 2.0, False),
        ("{process: closed, users: 3, think: 1s}", None, False),
        ("at-once", None, False),
    ],
)
def test_theory_is_asked_only_where_it_holds(files: Any, arrivals: str, rate: float | None, memoryless: bool) -> None:
    load = ExpectedLoad.of(files.load(f"workload.arrivals={arrivals}"))
    assert load is not None
    assert (load.rate, load.memoryless) == (rate, memoryless)
