"""Speculative decoding: two models of the zoo draft and verify, in one process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import acting
import pytest
from acting import AROUND, Actor

from testbed.models import zoo
from testbed.node.engine.model import ChatModel, Sampling
from testbed.patterns.participant import Call, Completion, JobError, Peer, Prompt, Verification
from testbed.patterns.speculative import Speculative
from testbed.workload.prompts.worldfacts import Worldfacts

MOST = 16


@pytest.fixture(scope="module")
def models() -> Iterator[dict[str, ChatModel]]:
    yield {"phone": ChatModel(zoo.path("alpha"), 256, 1), "cloud": ChatModel(zoo.path("beta"), 256, 1)}


@dataclass
class Pair(Actor):
    """A phone whose model drafts and a cloud whose model verifies."""

    models: dict[str, ChatModel] = field(default_factory=dict)
    most_tokens: int = MOST
    lasts: int = 1000
    """Verifications until the cloud is gone."""

    async def complete(self, call: Call, at: Peer | None = None, _timeout: float | None = None) -> Completion:
        assert at is None
        self.asked.append(("phone", call, None))
        return self.models["phone"].complete(call.messages, _greedy(call.sampling.max_tokens, call.begun), _ignore)

    async def verify(self, call: Call, tokens: Sequence[int], at: Peer, _timeout: float | None = None) -> Verification:
        self.asked.append((at.name, call, None))
        self.lasts -= 1
        if self.lasts < 0:
            raise JobError("gone")
        return self.models["cloud"].verify(call.messages, tokens, _greedy(MOST))

    def text_of(self, tokens: Sequence[int]) -> str:
        return self.models["phone"].text_of(tokens)


def _greedy(most: int | None, begun: tuple[int, ...] = ()) -> Sampling:
    assert most is not None
    return Sampling(0.0, most, seed=1, begun=begun)


def _ignore(_text: str) -> None:
    return


def _pattern(**more: Any) -> Speculative:
    return Speculative.model_validate({"kind": "speculative", "stages": ["self", "cloud"], **more})


@pytest.mark.parametrize("draft", [1, 4, 16])
def test_the_answer_is_the_greedy_one_of_the_model_that_verifies(models: dict[str, ChatModel], draft: int) -> None:
    pattern = _pattern(draft=draft)
    for number, question in enumerate(Worldfacts(source="worldfacts").questions(10, 3)):
        pair = Pair(models=models)
        messages = Call.of(question.text).messages
        alone = models["cloud"].complete(messages, _greedy(MOST), _ignore)
        assert acting.play(pattern.answer(Prompt(f"p{number}", question.text), pair)) == alone.text
        held = [decision.score for decision in pair.decisions]
        rounds = len(held)
        assert pair.nodes == ["phone", "cloud"] * rounds
        assert sum(int(score or 0) for score in held) + rounds - 1 <= alone.tokens <= sum(map(int, held)) + rounds
        assert all(0 <= score <= draft for score in held)


def test_a_model_goes_on_with_an_answer_as_if_it_had_written_it(models: dict[str, ChatModel]) -> None:
    messages = Call.of("What is 7 times 8?").messages
    whole = models["cloud"].complete(messages, _greedy(MOST), _ignore)
    assert whole.tokens > 2
    rest = models["cloud"].complete(messages, _greedy(MOST, whole.token_ids[:2]), _ignore)
    assert whole.token_ids[2:] == rest.token_ids
    assert models["cloud"].text_of(whole.token_ids) == whole.text


def test_the_owner_goes_on_alone_when_the_cloud_is_gone(models: dict[str, ChatModel]) -> None:
    pair = Pair(models=models, lasts=1)
    question = "What is 7 times 8?"
    answer = acting.play(_pattern(draft=2).answer(Prompt("p1", question), pair))
    verified = models["cloud"].complete(Call.of(question).messages, _greedy(1), _ignore)
    assert answer.startswith(verified.text)
    assert pair.decisions[-1].reason == "goes on alone: gone"


@pytest.mark.parametrize("stages", [["self"], ["cloud", "self"], ["self", {"delegate": "cloud"}]])
def test_other_stages_are_refused(stages: Any) -> None:
    around = {"phone": AROUND, "cloud": AROUND}
    mistakes = list(_pattern(stages=stages).mistakes(around, ["phone"]))
    assert (("stages",), "the stages are [self, NODE]: self drafts, and the node verifies") in mistakes
