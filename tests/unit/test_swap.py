"""The fault `swap`, and what tells other nodes which model has answered."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loopback
import pytest
from nodes import ADDRESSES, configured, node

from testbed.core.errors import SpecError
from testbed.models import zoo
from testbed.models.holdings import given_files, model_mistakes
from testbed.node.calls import asking
from testbed.node.character.swapping import SwappedModel
from testbed.node.character.traits import AnyTrait, Garbling, Swapping
from testbed.node.config import FURTHER, PeerFacts
from testbed.node.journal import recall
from testbed.patterns.participant import Completion, Prompt

MakeTrace = Callable[[str], Any]


class Written:
    """A model that completes every chat with its own fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = self.vocabulary = fingerprint
        self.chat: Any = None

    def complete(self, chat: Any, *_: Any) -> Completion:
        self.chat = chat
        return Completion(self.fingerprint, 1, 1, True, model=self.fingerprint)

    def check(self, chat: Any) -> None:
        pass


def test_the_last_swap_says_which_model_answers_and_its_end_brings_the_own_one_back() -> None:
    traits: list[AnyTrait] = []
    others: Any = {"zoo/b": Written("b"), "zoo/c": Written("c")}
    model = SwappedModel(Written("a"), others, lambda: traits)  # type: ignore[arg-type]

    def answering() -> str:
        completion = model.complete([], None, lambda _: None)  # type: ignore[arg-type]
        assert model.vocabulary == completion.text
        return completion.model

    assert answering() == "a"
    traits += [Swapping(model="zoo/b"), Garbling(), Swapping(model="zoo/c")]
    assert answering() == "c"
    traits.pop()
    assert answering() == "b"
    traits.clear()
    assert answering() == "a"


@pytest.mark.parametrize("models", ["any", "pinned"])
@pytest.mark.parametrize("says", ["expected", "another", ""])
def test_a_foreign_model_is_an_event_and_its_answer_is_refused_where_models_are_pinned(
    models: str, says: str, make_trace: MakeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PORT", loopback.free_port())
    facts = {"b": PeerFacts(model="zoo/beta", fingerprint="expected")}
    config = configured("a", {"b": ADDRESSES["b"]}).model_copy(update={"peers": facts, "models": models})

    own = Written("own")

    async def play() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for named, model in ((configured("b", {}), Written(says)), (config, own)):
                trace = make_trace(named.name).trace
                running = node(named, model, trace, tmp_path, ADDRESSES[named.name])
                _, agent = await stack.enter_async_context(running)
            await agent.answer(Prompt("p1", "Which?"))

    asyncio.run(play())
    foreign, refused = make_trace("a").read("foreign_model"), says != "expected" and models == "pinned"
    assert len(foreign) == (says != "expected")
    for event in foreign:
        assert (event["peer"], event["model"], event["expected"]) == ("b", says, "expected")
        assert event["taken"] == (not refused)
    assert ("Response-2" in own.chat[-1]["content"]) == (not refused)  # of those that are aggregated


def test_a_restarted_node_knows_which_model_wrote_what_it_has_said(make_trace: MakeTrace) -> None:
    trace = make_trace("a")
    trace.trace.emit("enqueue", job="p1.1@a", prompt="p1")
    end = {"prompt_tokens": 1, "tokens": 1, "text": "Yes", "stopped": True, "logprobs": None}
    trace.trace.emit("end", job="p1.1@a", model="another", **end)
    outcome = recall(trace.path).jobs["p1.1@a"]
    assert isinstance(outcome, Completion) and outcome.model == "another"


@pytest.mark.parametrize(
    ("topology", "fault", "sentence"),
    [
        ("", "{node: z, model: zoo/beta}", "there is no node 'z'"),
        ("", "{node: a, model: zoo/alpha}", "'a' has this model already"),
        ("slots: 2, ", "{node: a, model: zoo/beta}", "'a' has 2 slots"),
        ("", "a", "model"),
    ],
)
def test_a_swap_that_cannot_be_is_refused(files: Any, topology: str, fault: str, sentence: str) -> None:
    text = files.topology.replace("a: {", f"a: {{{topology}", 1)
    with pytest.raises(SpecError, match=sentence):
        files.load(topology=text, scenario=f"{files.scenario}timeline:\n  - {{at: 1s, swap: {fault}}}\n")


def test_a_node_must_hold_both_models_and_has_each_other_one_once(files: Any) -> None:
    swaps = "".join(f"  - {{at: {at}s, swap: {{node: a, model: zoo/beta}}, for: 1s}}\n" for at in (1, 3))
    scenario = files.load(scenario=f"{files.scenario}timeline:\n{swaps}")
    assert not list(model_mistakes(scenario))
    (model,) = given_files(scenario)["a"].values()
    assert (list(given_files(scenario)["a"]), model.path) == ([FURTHER / "0.gguf"], zoo.path("beta"))
    assert "zoo/beta" in scenario.model_references
    tight = files.load("topology.nodes.a.memory=75MiB", scenario=f"{files.scenario}timeline:\n{swaps}")
    sentences = [sentence for _, sentence in model_mistakes(tight)]
    assert len(sentences) == 2 and all("at once" in sentence for sentence in sentences)
