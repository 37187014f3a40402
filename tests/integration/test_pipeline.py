"""A model on a ring of real containers: what it says, what travels, and where the model is."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
from observed import PROJECT, FinishedRun

from testbed.models import zoo
from testbed.node.engine.model import ChatModel, Sampling
from testbed.patterns.participant import Completion

Run = Callable[..., FinishedRun]

UNMEASURED = ("--fidelity", "off")
PIPELINE = PROJECT / "scenarios" / "pipeline.yaml"
LOST_STAGE = PROJECT / "scenarios" / "pipeline_lost_stage.yaml"
RING = "abc"
WIDTH = 192  # values of a hidden state of zoo/alpha


@pytest.fixture(scope="module")
def pipeline(run: Run) -> FinishedRun:
    return run(PIPELINE, *UNMEASURED)


@pytest.fixture(scope="module")
def model() -> ChatModel:
    """The model in one piece."""
    return ChatModel(zoo.path("alpha"), context=256, threads=1)


def _assert_answers_are_those_of(model: ChatModel, run: FinishedRun) -> None:
    """Text, number of tokens and log-probabilities of every answer are what the model gives at temperature 0.

    Frames carry a log-probability as f32.
    """
    texts = {event["prompt"]: event["text"] for event in run.events if event["event"] == "prompt"}
    ends = {event["job"].split(".")[0]: event for event in run.events if event["event"] == "end"}
    assert ends.keys() == texts.keys()
    for prompt, text in texts.items():
        end = ends[prompt]
        said = Completion(end["text"], end["prompt_tokens"], end["tokens"], end["stopped"])
        alone = model.complete([{"role": "user", "content": text}], Sampling(0.0, 24, seed=0), lambda _: None)
        assert said == replace(alone, logprobs=None), prompt
        assert alone.logprobs is not None
        assert end["logprobs"] == pytest.approx(asdict(alone.logprobs), abs=1e-5), prompt


def test_the_answers_are_token_by_token_those_of_the_model_in_one_piece(
    pipeline: FinishedRun, model: ChatModel
) -> None:
    assert pipeline.exit_code == 0, pipeline.output
    _assert_answers_are_those_of(model, pipeline)


@pytest.mark.parametrize("schedule", ["sequential", "recurrent", "auto"])
def test_no_schedule_changes_an_answer(schedule: str, run: Run, model: ChatModel) -> None:
    other = run(PIPELINE, *UNMEASURED, "--set", f"pattern.schedule={schedule}", "--set", "workload.count=12")
    assert other.exit_code == 0, other.output
    _assert_answers_are_those_of(model, other)


def test_a_ring_of_one_is_the_model_itself(run: Run, model: ChatModel) -> None:
    alone = run(PIPELINE, *UNMEASURED, "--set", "pattern.ring=[b]", "--set", "workload.count=8")
    assert alone.exit_code == 0, alone.output
    _assert_answers_are_those_of(model, alone)


def test_prompts_arrive_at_the_head_and_every_stage_computes_every_token(pipeline: FinishedRun) -> None:
    assert {event["owner"] for event in pipeline.events if event["event"] == "prompt"} == {"a"}
    ends = [event for event in pipeline.events if event["event"] == "end"]
    # The last token that is drawn goes round no more; where a sample stopped, that is the one that says so.
    rows = sum(event["prompt_tokens"] + event["tokens"] - (not event["stopped"]) for event in ends)
    for node in RING:
        computed = [event for event in pipeline.events if event["event"] == "computed" and event["node"] == node]
        assert sum(event["rows"] for event in computed) == rows
        assert pipeline.summary["nodes"][node]["busy_seconds"] == pytest.approx(sum(e["seconds"] for e in computed))


def test_no_frame_was_rejected_and_the_ring_did_not_break(pipeline: FinishedRun) -> None:
    kinds = [event["event"] for event in pipeline.events]
    assert "frame_rejected" not in kinds
    assert "ring_broken" not in kinds


def test_a_hop_carries_hidden_rows_and_the_way_home_tokens(pipeline: FinishedRun) -> None:
    links, ends = pipeline.summary["links"], [event for event in pipeline.events if event["event"] == "end"]
    rows = sum(event["prompt_tokens"] + event["tokens"] - (not event["stopped"]) for event in ends)
    frames = 2 * len([event for event in pipeline.events if event["event"] == "computed" and event["node"] == "b"])
    for node in "ab":
        assert rows * WIDTH * 4 < links[f"{node}-s1"]["up"] < rows * (WIDTH * 4 + 64) * 1.1 + frames * 66 + 20_000
    assert links["c-s1"]["up"] < rows * 64 + frames * 66 + 20_000


def test_every_node_holds_its_stage_and_the_manifest_says_why(pipeline: FinishedRun) -> None:
    manifest = json.loads((pipeline.path / "manifest.json").read_text())
    stages = manifest["stages"]
    assert [stages[node].split(" in ")[0] for node in RING] == [
        "layers 0-1", "layers 2-3", "layers 4-5 and the output matrix",
    ]  # fmt: skip
    assert {manifest["models"][node]["reference"] for node in RING} == {"zoo/alpha"}


@pytest.mark.parametrize("activations", ["f16", "q8_0"])
def test_shorter_activations_halve_or_quarter_the_traffic(activations: str, pipeline: FinishedRun, run: Run) -> None:
    other = run(PIPELINE, *UNMEASURED, "--set", f"pattern.activations={activations}")
    assert other.exit_code == 0, other.output
    share = {"f16": 0.5, "q8_0": 34 / 32 / 4}[activations]
    carried, exact = (one.summary["links"]["a-s1"]["up"] for one in (other, pipeline))
    assert carried < (share + 0.2) * exact


def test_a_model_that_does_not_fit_is_refused_before_anything_starts(run: Run) -> None:
    small = [f"topology.nodes.{node}.memory=57MiB" for node in RING]
    refused = run(PIPELINE, *UNMEASURED, *(option for one in small for option in ("--set", one)))
    assert refused.exit_code == 2
    assert "pattern: the ring cannot hold zoo/alpha: a holds" in refused.output.replace("\n", " ")


@pytest.mark.parametrize("fault", ["kill: b, for: 1s", "hang: c, for: 4s", "cut: b-s1, for: 4s", "restart: b"])
def test_a_stage_that_is_lost_for_a_while_costs_no_token(fault: str, run: Run, model: ChatModel) -> None:
    timeline = f"timeline=[{{after: {{prompts: 6}}, {fault}}}]"
    lost = run(LOST_STAGE, *UNMEASURED, "--set", timeline)
    assert lost.exit_code == 0, lost.output
    kinds = [event["event"] for event in lost.events]
    assert kinds.count("ring_broken") >= 1
    assert kinds.count("ring_closed") >= 2
    _assert_answers_are_those_of(model, lost)


@pytest.mark.parametrize("lost", ["b", "c"])
def test_the_others_take_the_layers_of_a_stage_that_stays_away(lost: str, run: Run, model: ChatModel) -> None:
    timeline = f"timeline=[{{after: {{prompts: 6}}, kill: {lost}}}]"
    over = run(
        PROJECT / "scenarios" / "pipeline_lost_stage.yaml",
        *UNMEASURED,
        "--set",
        timeline,
        "--set",
        "pattern.take_over=1s",
    )
    assert over.exit_code == 0, over.output
    assert [event["peer"] for event in over.events if event["event"] == "taken_over"] == [lost]
    _assert_answers_are_those_of(model, over)


def test_a_stage_that_stays_away_ends_every_prompt_with_its_reason(run: Run) -> None:
    timeline = "timeline=[{after: {prompts: 6}, kill: b}]"
    lost = run(
        PROJECT / "scenarios" / "pipeline_lost_stage.yaml",
        *UNMEASURED,
        "--set",
        timeline,
        "--set",
        "pattern.patience=2s",
    )
    assert lost.exit_code == 1
    failed = {event["prompt"]: event["reason"] for event in lost.events if event["event"] == "failed"}
    answered = {event["prompt"] for event in lost.events if event["event"] == "answer"}
    assert len(failed) + len(answered) == 30
    assert set(failed.values()) == {"the ring has been broken for more than 2s"}
