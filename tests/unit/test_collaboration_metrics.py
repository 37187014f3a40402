"""What asking others costs and changes, counted by hand."""

from typing import Any

import pytest

from testbed.analysis.distributions import wilson_interval
from testbed.analysis.measurements import Measurements
from testbed.analysis.metrics.groups import accuracy_by_label, accuracy_by_scorer
from testbed.schema.network.node import Node
from testbed.world.nodes.kinds import Container

DEVICE = {"kind": "container", "model": "zoo/alpha", "cpus": 0.1, "memory": "64MiB", "tier": "device", "power": "2W"}
CLOUD = {**DEVICE, "tier": "cloud", "power": "100W", "price": {"input": 1, "output": 10}}
NODES = {"a": Container.model_validate(DEVICE), "c": Container.model_validate(CLOUD)}


def _event(t: float, node: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"t": t, "node": node, "event": kind, **fields}


def _prompt(name: str, t: float, score: float, **opinions: list[tuple[int, str, float]]) -> list[dict[str, Any]]:
    """A prompt of node a; ``opinions`` have layer, choice and value of each answer, by node."""
    said = [
        _event(t + 1, "", "opinion", prompt=name, job="", by=node, layer=layer, choice=choice, value=value)
        for node, answers in opinions.items()
        for layer, choice, value in answers
    ]
    begin = [
        _event(t, "", "prompt", prompt=name, owner="a", text="?", truth="1"),
        _event(t, "a", "arrival", prompt=name),
    ]
    end = [_event(t + 2, "a", "answer", prompt=name, text=""), _event(t + 2, "", "score", prompt=name, value=score)]
    return [*begin, *said, *end]


def _job(node: str, prompt: str, begin: float, end: float) -> list[dict[str, Any]]:
    job = f"{prompt}.1@{node}"
    return [
        _event(begin, node, "enqueue", job=job, prompt=prompt, owner="a", layer="1", role="answer"),
        _event(begin, node, "start", job=job),
        _event(end, node, "end", job=job, text="1", prompt_tokens=100_000, tokens=20_000, stopped=True),
    ]


def _metrics(events: list[dict[str, Any]], **nodes: Node) -> dict[str, float | None]:
    ready = [_event(-1.0, node, "ready") for node in "ac"]
    return Measurements([*ready, *sorted(events, key=lambda event: event["t"])], {}, (), nodes).metrics()


def test_what_prompts_cost_on_each_tier() -> None:
    alone, helped = _prompt("p1", 0, 1), _prompt("p2", 10, 1)
    work = [*_job("a", "p1", 0, 1), *_job("a", "p2", 10, 12), *_job("c", "p2", 10, 14), *_job("c", "p3", 12, 15)]
    found = _metrics([*alone, *helped, *work], **NODES)
    assert found["offload"] == 0.5
    assert (found["tokens.device"], found["tokens.edge"], found["tokens.cloud"]) == (240_000, None, 240_000)
    assert found["cost"] == found["cost.cloud"] == pytest.approx(2 * (0.1 * 1 + 0.02 * 10))
    assert found["cost.device"] is None  # it names no price
    assert found["energy.device"] == pytest.approx(2 * (1 + 2))
    assert found["energy.cloud"] == pytest.approx(100 * 5)  # from 10 s to 15 s, though two jobs overlapped
    assert found["energy"] == pytest.approx(506)


def test_a_topology_without_tiers_has_no_share_that_is_offloaded() -> None:
    untiered = {name: node.model_copy(update={"tier": None}) for name, node in NODES.items()}
    assert _metrics(_prompt("p1", 0, 1), **untiered)["offload"] is None


def test_what_several_answers_change() -> None:
    events = [
        *_prompt("p1", 0, 1, a=[(1, "2", 0.0), (2, "1", 1.0)], b=[(1, "1", 1.0)], c=[(1, "1", 1.0)]),  # to right
        *_prompt("p2", 10, 0, a=[(1, "1", 1.0), (2, "3", 0.0)], b=[(1, "3", 0.0)], c=[(1, "4", 0.0)]),  # to wrong
        *_prompt("p3", 20, 0, a=[(1, "5", 0.0)], b=[(1, "5", 0.0)]),  # as wrong as before
        *_prompt("p4", 30, 1, b=[(1, "1", 1.0)], c=[(1, "1", 1.0)]),  # the owner was not asked
    ]
    found = _metrics(events)
    assert found["agreement"] == pytest.approx((2 / 3 + 1 / 3 + 1 + 1) / 4)
    assert found["oracle"] == 0.75
    assert found["flips.right"] == found["flips.wrong"] == pytest.approx(1 / 3)


def test_prompts_with_one_answer_agree_on_nothing() -> None:
    found = _metrics(_prompt("p1", 0, 1))
    assert [found[name] for name in ("agreement", "oracle", "flips.right", "flips.wrong")] == [None] * 4


def test_exposures_are_the_secrets_of_all_texts_that_left() -> None:
    sent = [_event(t, "a", "disclosure", prompt="p1", to="c", text="?", masked=1, exposed=t) for t in (0, 1, 2)]
    assert _metrics([*_prompt("p1", 0, 1), *sent])["exposures"] == 3
    assert _metrics(_prompt("p1", 0, 1))["exposures"] is None


def test_accuracy_by_label_and_by_each_scorer() -> None:
    asked = [
        _event(0, "", "prompt", prompt=f"p{n}", owner="a", text="?", truth="1", label=label)
        for n, label in enumerate(("sums", "sums", "towns", ""))
    ]
    answers = [_event(1, "a", "answer", prompt=f"p{n}", text="1") for n in range(4)]
    scores = [
        _event(1, "", "score", prompt=f"p{n}", scorer=scorer, value=value, counts=scorer == "exact")
        for scorer, values in {"exact": (1.0, 0.0, 0.0, 1.0), "f1": (1.0, 0.5, None, 0.25)}.items()
        for n, value in enumerate(values)
    ]
    measured = Measurements([*asked, *answers, *scores], {})
    by_label, by_scorer = accuracy_by_label(measured), accuracy_by_scorer(measured)
    assert {name: (one.mean, one.judged) for name, one in by_label.items()} == {"sums": (0.5, 2), "towns": (0.0, 1)}
    assert by_label["sums"].interval == wilson_interval(1, 2)
    assert {name: (one.mean, one.judged) for name, one in by_scorer.items()} == {
        "exact": (0.5, 4),
        "f1": (pytest.approx(1.75 / 3), 3),
    }
