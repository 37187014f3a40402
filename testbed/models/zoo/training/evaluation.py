"""The accuracy of the zoo's models alone and as a Gossip Mixture-of-Agents, in one process without network or queues.

The questions are held out, and each of the four nodes asks a quarter of them. Controls show the causes of the gain:
four equal models (no node knows more than another), every confidence rewritten to "maybe" (none shows who knows),
temperature 0 (no randomness in answers).
"""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from llama_cpp import Llama

from testbed.models.zoo import SPECIALISTS, path
from testbed.models.zoo.training.curriculum import MAYBE, Response, parse
from testbed.models.zoo.training.panels import vote
from testbed.patterns.horizontal.aggregation import aggregation_prompt
from testbed.workload.prompts.base import Question
from testbed.workload.prompts.worldfacts import answer_of, held_out, is_correct

TEMPERATURE = 0.7
_GREEDY = 0.0
_LONGEST_ANSWER = 24
_CONTEXT = 512
_PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Gossip:
    """Gossip with M layers of the own and k other models. M = 0 is the single model."""

    layers: int
    proposers: int


GRID = (Gossip(0, 0), *(Gossip(layers, proposers) for layers, proposers in product((1, 2), (1, 2, 3))))
ENDS = (Gossip(0, 0), Gossip(1, 3), Gossip(2, 3))


def as_said(response: str) -> str:
    """The response unchanged."""
    return response


def always_maybe(response: str) -> str:
    """The response with the confidence "maybe"."""
    return str(Response(answer_of(response), MAYBE))


@dataclass(frozen=True, slots=True)
class Setting:
    """The models of the nodes, the temperature, and the rewriting of responses before they reach an aggregator."""

    name: str
    models: Sequence[str]
    temperature: float
    rewrite: Callable[[str], str]
    grid: Sequence[Gossip]


SETTINGS = (
    Setting("four different models", SPECIALISTS, TEMPERATURE, as_said, GRID),
    Setting('every confidence "maybe"', SPECIALISTS, TEMPERATURE, always_maybe, ENDS),
    Setting("temperature 0", SPECIALISTS, _GREEDY, as_said, ENDS),
    *(Setting(f"four times {name}", (name,) * len(SPECIALISTS), TEMPERATURE, as_said, ENDS) for name in SPECIALISTS),
)


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of the prompts, from 0 to 1.

    `correct` have a correct answer, `covered` the truth among the last layer's responses, `voted` a correct vote on
    these.
    """

    setting: str
    gossip: Gossip
    correct: float
    covered: float
    voted: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    correct: bool
    covered: bool
    voted: bool


class _Nodes:
    """The models of a setting. Nodes with the same model share one loaded copy."""

    def __init__(self, zoo: Path, setting: Setting) -> None:
        loaded = {
            name: Llama(str(path(name, zoo)), n_ctx=_CONTEXT, n_threads=1, n_threads_batch=1, verbose=False)
            for name in dict.fromkeys(setting.models)
        }
        self._nodes = [loaded[name] for name in setting.models]
        self._setting = setting

    def ask(self, node: int, prompt: str, rng: random.Random) -> str:
        completion: Any = self._nodes[node].create_chat_completion(
            messages=[{"role": "user", "content": prompt}],
            max_tokens=_LONGEST_ANSWER,
            temperature=self._setting.temperature,
            seed=rng.randrange(2**31),
        )
        return str(completion["choices"][0]["message"]["content"]).strip()

    def layer(self, owner: int, proposers: int, prompt: str, rng: random.Random) -> list[str]:
        """The responses of the owner and of `proposers` others, rewritten as the setting demands."""
        others = [node for node in range(len(self._nodes)) if node != owner]
        asked = [owner, *rng.sample(others, proposers)]
        return [self._setting.rewrite(self.ask(node, prompt, rng)) for node in asked]


def _outcome(nodes: _Nodes, question: Question, owner: int, gossip: Gossip, rng: random.Random) -> _Outcome:
    prompt, responses = question.text, list[str]()
    for _ in range(gossip.layers):
        responses = nodes.layer(owner, gossip.proposers, prompt, rng)
        prompt = aggregation_prompt(question.text, responses)
    answer = nodes.ask(owner, prompt, rng)
    last_layer = responses or [answer]
    return _Outcome(
        correct=is_correct(answer, str(question.truth)),
        covered=any(is_correct(response, str(question.truth)) for response in last_layer),
        voted=vote([parse(response) for response in last_layer]).answer == question.truth,
    )


def _score(questions: Sequence[Question], nodes: _Nodes, setting: Setting, gossip: Gossip) -> Score:
    rng = random.Random(f"{setting.name} {gossip}")
    outcomes = [
        _outcome(nodes, question, index % len(SPECIALISTS), gossip, rng) for index, question in enumerate(questions)
    ]
    return Score(
        setting.name,
        gossip,
        correct=sum(outcome.correct for outcome in outcomes) / len(outcomes),
        covered=sum(outcome.covered for outcome in outcomes) / len(outcomes),
        voted=sum(outcome.voted for outcome in outcomes) / len(outcomes),
    )


def _scores(zoo: Path, questions: Sequence[Question], setting: Setting) -> list[Score]:
    nodes = _Nodes(zoo, setting)
    return [_score(questions, nodes, setting, gossip) for gossip in setting.grid]


def evaluate(zoo: Path, count: int, seed: int) -> list[Score]:
    """The scores of all settings with the models in `zoo`, on the same `count` held-out questions."""
    score = partial(_scores, zoo, held_out(count, seed))
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
        return [one for scores in pool.map(score, SETTINGS) for one in scores]


def table(scores: Sequence[Score]) -> str:
    """The scores as a table in Markdown, in percent."""
    rows = [
        f"| {one.setting} | {one.gossip.layers} | {one.gossip.proposers} "
        f"| {one.correct:.1%} | {one.voted:.1%} | {one.covered:.1%} |"
        for one in scores
    ]
    header = [
        "| setting | M | k | correct | vote on the last layer | truth in the last layer |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join(header + rows)
