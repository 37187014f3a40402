"""Learned routers: their features, their fit, and how routes and cascades go by them."""

import json
import math
import random
from hashlib import blake2b
from pathlib import Path
from typing import Any

import acting
import numpy as np
import pytest
from acting import AROUND, CLOUD, DEVICE, EDGE, Actor

from testbed.analysis.routing import fitting
from testbed.analysis.routing.evaluation import evaluate, held_out
from testbed.analysis.routing.examples import Example, StageAnswer, readable
from testbed.analysis.routing.thresholds import best_thresholds
from testbed.patterns.cascade import Cascade
from testbed.patterns.participant import Completion, LogProbabilities, Prompt, Surroundings
from testbed.patterns.route import Route
from testbed.patterns.signals import signal_of
from testbed.patterns.vertical.routers.features import hashed_words, numbers_of_prompt
from testbed.patterns.vertical.routers.router import Router

NODES = {"phone": AROUND, "edge1": Surroundings(EDGE, [DEVICE, CLOUD], 10), "cloud": Surroundings(CLOUD, [EDGE], 10)}
TOWNS = ("Tabu", "Kelo", "Miru", "Sofa", "Nada", "Rilo")


def prompts(count: int, seed: int) -> list[Example]:
    """Capitals, which the weak stage knows when it is sure, and sums, which only the strong one knows."""
    draw = random.Random(seed)
    return [_prompt(draw) for _ in range(count)]


def _prompt(draw: random.Random) -> Example:
    if draw.random() < 0.5:
        text = f"{draw.choice(('What is', 'Name'))} the capital of {draw.choice(TOWNS)}{draw.randrange(10**6)}?"
        sure = draw.random() < 0.8
        answer = Completion("Tabu, sure", 9, 3, True, LogProbabilities.of([-0.1 if sure else -2.0] * 3))
        return Example(text, answer, float(sure), 1.0)
    text = f"{draw.choice(('What is', 'Compute'))} {draw.randrange(10**6)} plus {draw.randrange(10**6)}?"
    return Example(text, Completion("7, sure", 9, 3, True, LogProbabilities.of([-0.1] * 3)), 0.0, 1.0)


@pytest.fixture(scope="module")
def router() -> Router:
    return fitting.fit(prompts(200, 1), "prompt", 3)


@pytest.fixture(scope="module")
def reading() -> Router:
    """A router that reads the weak stage's answer, too."""
    return fitting.fit(prompts(120, 1), "answer", 3)


@pytest.fixture
def file(router: Router, tmp_path: Path) -> Path:
    path = tmp_path / "router.json"
    path.write_text(router.model_dump_json())
    return path


def _ladder(weak: float, weak_right: int, middle: float, middle_right: int) -> list[StageAnswer]:
    """The answers of three stages, the last of which is right, at prices of 1, 2 and 10."""
    stages = ((weak, weak_right, 1.0), (middle, middle_right, 2.0), (-0.1, 1, 10.0))
    return [
        StageAnswer(Completion("x", 9, 1, True, LogProbabilities.of([signal])), float(right), price)
        for signal, right, price in stages
    ]


def test_words_and_pairs_are_hashed_without_case_and_whole_numbers_are_one_word() -> None:
    def bucket(term: str) -> int:
        key = (7).to_bytes(8, "big")
        return int.from_bytes(blake2b(term.encode(), digest_size=8, key=key).digest(), "big") % 50

    terms = ("add", "0", "to", ".", "add 0", "0 to", "to 0", "0 .")
    expected = {bucket(term) for term in terms}
    found = hashed_words("Add 12 to 345.", 50, 7)
    assert set(found) == expected == set(hashed_words("ADD 3 to 9.", 50, 7))
    assert sum(value**2 for value in found.values()) == pytest.approx(1)
    assert hashed_words("", 50, 7) == {}
    assert hashed_words("Add 12 to 345.", 50, 8) != found


def test_the_score_is_the_dot_product_of_the_file(file: Path) -> None:
    written, text = json.loads(file.read_text()), "What is the capital of Oslo7?"
    logit = written["intercept"]
    for bucket, value in hashed_words(text, written["buckets"], written["seed"]).items():
        logit += written["words"].get(str(bucket), 0) * value
    for name, value in {"length": len(text), "digits": 1 / len(text)}.items():
        number = written["numbers"][name]
        logit += number["weight"] * (value - number["mean"]) / number["scale"]
    assert Router.load(file).score(text) == pytest.approx(1 / (1 + math.exp(-logit)))


def test_the_weights_minimise_the_penalised_loss() -> None:
    draw = np.random.default_rng(5)
    rows, gains = draw.normal(size=(30, 4)), np.array([0.0, 1.0] * 15)
    weights = fitting._regression(rows, gains, 0.3)
    slope = rows.T @ (1 / (1 + np.exp(-rows @ weights)) - gains) + 0.3 * weights
    assert np.abs(slope).max() < 1e-4


def test_a_router_tells_who_is_right_on_prompts_it_has_not_seen(router: Router) -> None:
    judged = evaluate(router, held_out(router, prompts(300, 2)))
    by_router, by_length, oracle = judged.measures
    assert judged.prompts == 300
    assert by_length.apgr is not None and by_router.apgr is not None and oracle.apgr is not None
    assert by_length.apgr + 0.05 < by_router.apgr < oracle.apgr
    half = next(point for point in judged.operations if point.share == 0.5)
    assert half.strong_share == pytest.approx(0.5, abs=0.12)  # three standard errors of the 300 prompts and of the 200


def test_the_weak_answer_tells_more(router: Router, reading: Router) -> None:
    new = prompts(300, 2)
    assert readable(new)
    apgr = [evaluate(one, new).measures[0].apgr or 0 for one in (router, reading)]
    assert apgr[1] > apgr[0]
    assert evaluate(router, new).measures[2].apgr == pytest.approx(
        1 - sum(one.gain for one in new) / len(new) / 2  # where the strong stage is right whenever the weak one is
    )


def test_prompts_that_a_router_was_fitted_on_are_no_test(router: Router) -> None:
    assert held_out(router, prompts(200, 1)) == []


def test_a_share_is_that_of_the_calibration_prompts(router: Router) -> None:
    for share in (0.0, 0.25, 0.5, 1.0):
        assert router.share(router.threshold(share)) == pytest.approx(share, abs=0.02)


def route(file: Path, **strong: Any) -> Route:
    rule = {"score": "router", "router": str(file), **strong}
    return Route.model_validate({"kind": "route", "stages": ["self", "cloud"], "strong": rule})


def cascade(file: Path, stages: Any = ("self", "cloud")) -> Cascade:
    accept = {"signal": "router", "router": str(file), "above": 0.5}
    return Cascade.model_validate({"kind": "cascade", "stages": list(stages), "accept": accept})


def test_a_route_goes_by_its_router(router: Router, file: Path) -> None:
    for text, node in (("What is the capital of Tabu123456?", "phone"), ("Compute 312345 plus 456789?", "cloud")):
        actor = Actor()
        acting.play(route(file, above=0.5).answer(Prompt("p1", text), actor))
        assert (actor.nodes, actor.decisions[0].score) == ([node], router.score(text))
    assert list(route(file, share=0.5).mistakes(NODES, ["phone"])) == []
    acting.play(route(file, share=0.25).answer(Prompt("p1", text), actor := Actor()))
    assert actor.decisions[0].threshold == router.threshold(0.25)


def test_a_cascade_goes_by_prompt_and_answer(reading: Router, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(reading.model_dump_json())
    for logprob, nodes in ((-0.1, ["phone"]), (-2.0, ["phone", "cloud"])):
        actor = Actor({"phone": "Tabu, sure"}, logprobs={"phone": [logprob] * 3})
        acting.play(cascade(tmp_path / "r.json").answer(Prompt("p1", "Name the capital of Tabu123?"), actor))
        assert actor.nodes == nodes
    actor = Actor({"phone": "Tabu, sure"})  # without log-probabilities
    acting.play(cascade(tmp_path / "r.json").answer(Prompt("p1", "Name the capital of Tabu123?"), actor))
    assert actor.nodes == ["phone", "cloud"]
    assert any("has no log-probabilities" in reason for reason in actor.reasons)


def test_files_that_are_no_router_for_this_are_refused(file: Path, reading: Router, tmp_path: Path) -> None:
    def sentence(pattern: Cascade | Route) -> str:
        ((_, sentence),) = pattern.mistakes(NODES, ["phone"])
        return sentence

    assert "cannot be read: No such file" in sentence(route(tmp_path / "none.json", share=0.5))
    (tmp_path / "broken.json").write_text("{}")
    assert "is no router; `testbed router fit` makes one" in sentence(cascade(tmp_path / "broken.json"))
    (tmp_path / "r.json").write_text(reading.model_dump_json())
    assert "use cascade" in sentence(route(tmp_path / "r.json", share=0.5))
    assert "3 stages; a router knows two" in sentence(cascade(file, ["self", "edge1", "cloud"]))
    with pytest.raises(ValueError, match="either `above`, a score, or `share`"):
        route(file)
    accept = {"signal": "router", "above": 1}
    with pytest.raises(ValueError, match="write both or neither"):
        Cascade.model_validate({"kind": "cascade", "stages": ["self", "cloud"], "accept": accept})


def test_numbers_of_a_prompt() -> None:
    assert numbers_of_prompt("ab 12") == {"length": 5, "digits": 0.4}
    assert numbers_of_prompt("") == {"length": 0, "digits": 0}


class TestAllStages:
    def test_a_route_asks_both_and_the_chosen_one_counts(self) -> None:
        pattern = Route.model_validate(
            {
                "kind": "route",
                "stages": ["self", "cloud"],
                "strong": {"score": "length", "above": 99},
                "policy": "all",
            }
        )
        actor = Actor({"phone": "x, sure", "cloud": "y, sure"})
        assert acting.play(pattern.answer(Prompt("p1", "?"), actor)) == "x, sure"
        assert actor.nodes == ["phone", "cloud"]
        assert pattern.calls(AROUND) == (2, 2)

    def test_a_cascade_asks_the_stages_behind_the_accepted_one(self) -> None:
        pattern = Cascade.model_validate(
            {
                "kind": "cascade",
                "stages": ["self", "edge1", "cloud"],
                "accept": {"signal": "word", "above": "sure"},
                "policy": "all",
            }
        )
        actor = Actor({"phone": "x, sure", "cloud": "y, sure"})
        assert acting.play(pattern.answer(Prompt("p1", "?"), actor)) == "x, sure"
        assert actor.nodes == ["phone", "edge1", "cloud"]
        assert pattern.calls(AROUND) == (3, 3)


class TestThresholds:
    """Of a weak stage that is right when it is sure, a middle one, and a strong one."""

    known = (
        *(_ladder(-0.1, 1, -0.1, 1), _ladder(-0.2, 1, -0.3, 1)),
        *(_ladder(-2.0, 0, -0.2, 1), _ladder(-3.0, 0, -0.1, 1)),
        *(_ladder(-2.5, 0, -4.0, 0), _ladder(-2.2, 0, -5.0, 0)),
    )

    def test_the_most_right_answers_within_a_share(self) -> None:
        best = best_thresholds(self.known, "p10", "offload", 0.4)
        assert best is not None
        assert -2.0 < best.above[0] <= -0.2 and -4.0 < best.above[1] <= -0.3
        assert (best.accuracy, best.offload) == (1.0, pytest.approx(2 / 6))
        assert best.cost == pytest.approx((2 * 1 + 2 * (1 + 2) + 2 * (1 + 2 + 10)) / 6)

    def test_a_smaller_budget_gives_up_answers(self) -> None:
        for most, right in ((5.7, 6), (4.01, 5), (3.4, 4)):
            cheaper = best_thresholds(self.known, "p10", "cost", most)
            assert cheaper is not None
            assert (cheaper.accuracy, cheaper.cost <= most) == (pytest.approx(right / 6), True)
        assert best_thresholds(self.known, "p10", "cost", 0.5) is None


def test_every_threshold_is_tried_against_all() -> None:
    """Against thresholds at every signal there is, for two stages."""
    draw = random.Random(3)
    known = [_ladder(-draw.random(), int(draw.random() < 0.5), -1, 1)[::2] for _ in range(12)]
    for most in (0.2, 0.5, 0.9):
        best = best_thresholds(known, "p10", "offload", most)
        tried = []
        for above in [signal_of(one[0].completion, "p10") for one in known]:
            goes = [signal_of(one[0].completion, "p10") < above for one in known]
            right = [one[1].score if strong else one[0].score for strong, one in zip(goes, known, strict=True)]
            tried += [sum(right) / 12] if sum(goes) / 12 <= most else []
        assert best is not None and best.accuracy == pytest.approx(max(tried))
