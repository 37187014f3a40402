"""Routes that learn from feedback, and what their propensities are good for."""

import asyncio
import math
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import acting
import numpy as np
import pytest
from acting import Actor

from testbed.analysis.routing.evaluation import evaluate_off_policy, snips
from testbed.analysis.routing.examples import LoggedChoice
from testbed.patterns.cascade import Cascade
from testbed.patterns.participant import JobError, Prompt
from testbed.patterns.route import Route
from testbed.patterns.vertical.routers.bandit import Arm
from testbed.patterns.vertical.routers.rules import ByBandit
from testbed.run.playing.play import deliver
from testbed.workload.prompts.base import Question
from testbed.workload.schedule import Arrival
from testbed.workload.scoring.exact import Exact


def route(score: str, **more: Any) -> Route:
    strong = {"score": score, "buckets": 32, **more}
    return Route.model_validate({"kind": "route", "stages": ["self", "cloud"], "strong": strong})


def test_an_arm_is_a_ridge_regression() -> None:
    draw = random.Random(2)
    seen = [({draw.randrange(6): draw.gauss(), draw.randrange(6): draw.gauss()}, draw.random()) for _ in range(40)]
    arm = Arm(6)
    for features, reward in seen:
        arm.learn(features, reward)
    rows = np.array([[features.get(index, 0.0) for index in range(6)] for features, _ in seen])
    inverse = np.linalg.inv(np.eye(6) + rows.T @ rows)
    weights = inverse @ rows.T @ np.array([reward for _, reward in seen])
    features = {1: 0.5, 4: -2.0}
    row = np.array([features.get(index, 0.0) for index in range(6)])
    estimate = arm.estimate(features)
    assert estimate.mean == pytest.approx(row @ weights)
    assert estimate.deviation == pytest.approx(math.sqrt(row @ inverse @ row))


@pytest.mark.parametrize("score", ["linucb", "thompson"])
def test_a_bandit_learns_whom_to_ask(score: str) -> None:
    """The weak stage knows capitals, the strong one everything."""
    pattern, draw, went = route(score), random.Random(1), []
    for number in range(250):
        capital = draw.random() < 0.5
        text = f"What is the capital of Kelo{number}?" if capital else f"Compute {number} plus 7."
        acting.play(pattern.answer(Prompt(f"p{number}", text), actor := Actor()))
        strong = actor.nodes == ["cloud"]
        pattern.learn(f"p{number}", float(strong or capital))
        went.append((capital, strong))
    late = Counter(went[150:])
    assert late[False, True] > 8 * late[False, False]
    assert late[True, False] > 4 * late[True, True]


def test_feedback_counts_once_and_only_for_the_stage_that_was_chosen() -> None:
    pattern = route("linucb", explore=0.0)
    assert isinstance(pattern.strong, ByBandit)
    acting.play(pattern.answer(Prompt("p1", "Compute 3."), actor := Actor({"cloud": JobError("gone")})))
    assert actor.nodes == ["cloud", "phone"]  # the one that was chosen failed
    pattern.learn("p1", 1.0)
    acting.play(pattern.answer(Prompt("p2", "Compute 3."), actor := Actor()))
    assert actor.decisions[0].score == 0
    pattern.learn("p2", 1.0)
    for _ in range(2):
        acting.play(pattern.answer(Prompt("p3", "Compute 3."), actor := Actor()))
        score = actor.decisions[0].score
        pattern.learn("p2", 1.0)
    # after one reward of 0.8 and two features of length 1: mean 2/3 of it; deviation 1/3 of what it was at first
    assert score == pytest.approx(2 / 3 * 0.8 + math.sqrt(2 / 3) - math.sqrt(2))


@pytest.mark.parametrize("score", ["linucb", "thompson"])
def test_propensities_are_the_shares_of_choices(score: str) -> None:
    pattern = route(score, explore=0.2)
    for number in range(12):
        acting.play(pattern.answer(Prompt(f"p{number}", f"Compute {number}."), Actor()))
        pattern.learn(f"p{number}", 0.5)
    decisions = []
    for number in range(600):
        acting.play(pattern.answer(Prompt(f"q{number}", "Compute 3."), actor := Actor()))
        decisions.append(actor.decisions[0])
    share = sum(one.reason == "strong" for one in decisions) / 600
    told = {one.reason: one.propensity for one in decisions}
    assert told["strong"] + told["weak"] == pytest.approx(1)
    assert share == pytest.approx(told["strong"], abs=0.06)  # three standard errors of 600 draws


def test_only_patterns_with_a_bandit_learn() -> None:
    assert route("thompson").learns
    assert not Route.model_validate(
        {"kind": "route", "stages": ["self", "cloud"], "strong": {"score": "length", "above": 3}}
    ).learns
    inner = {"kind": "route", "stages": ["self", "edge1"], "strong": {"score": "linucb"}}
    accept = {"signal": "word", "above": "sure"}
    outer = Cascade.model_validate({"kind": "cascade", "stages": [inner, "cloud"], "accept": accept})
    assert outer.learns


def test_the_owner_is_told_the_score_of_its_answer() -> None:
    told = []

    async def answer(prompt: Prompt) -> str:
        return "7" if prompt.id == "p1" else "8"

    async def feedback(prompt: str, reward: float) -> None:
        told.append((prompt, reward))

    async def play() -> None:
        session: Any = SimpleNamespace(answer=answer, feedback=feedback)
        recording: Any = SimpleNamespace(zero=asyncio.get_running_loop().time(), emit=lambda *_, **__: None)
        for prompt in ("p1", "p2"):
            arrival = Arrival(0.0, "a", prompt, Question("3 plus 4?", "7"))
            await deliver(arrival, None, session, recording, [Exact(scorer="exact")], None, session)

    asyncio.run(play())
    assert told == [("p1", 1.0), ("p2", 0.0)]


def test_snips_weighs_by_how_unlikely_the_choice_was() -> None:
    assert snips([1.0, 0.0], [0.5, 0.25]) == (pytest.approx(2 / 6), pytest.approx(math.hypot(2 * 4 / 6, 4 * 2 / 6) / 6))
    assert snips([], []) == (None, None)


def test_snips_finds_the_value_of_another_policy() -> None:
    """Prompts that begin with c are right by the weak stage; the router sends these there."""
    draw, logged = random.Random(4), []
    for number in range(800):
        text = draw.choice(("capital", "sum")) + str(number)
        strong = draw.random() < 0.7
        right = float(draw.random() < (0.9 if text[0] == "c" else 0.2 + 0.6 * strong))
        logged.append(LoggedChoice(text, strong, 0.7 if strong else 0.3, right))
    router: Any = SimpleNamespace(
        score=lambda text: float(text[0] == "s"), threshold=lambda share: 2.0 if share < 0.5 else 0.5
    )
    weak, mixed = (evaluate_off_policy(router, logged)[index] for index in (0, 2))
    for estimate, value in ((weak, (0.9 + 0.2) / 2), (mixed, (0.9 + 0.8) / 2)):
        assert estimate.accuracy is not None and estimate.error is not None
        assert abs(estimate.accuracy - value) < 3 * estimate.error < 0.15
    assert weak.strong_share == 0
    assert weak.matching == sum(not choice.strong for choice in logged)
