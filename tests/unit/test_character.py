"""Faults of character: what a node says in place of its answers, and what it is told for that."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from loopback import free_port
from nodes import ADDRESSES, configured, node

from testbed.core.errors import SpecError
from testbed.faults.api import Condition
from testbed.faults.effects import ActiveEffects
from testbed.faults.targets import misbehave
from testbed.node.calls import asking
from testbed.node.character import flooding
from testbed.node.character.conduct import Conduct
from testbed.node.character.flooding import Flooder
from testbed.node.character.traits import (
    Answering,
    AnyTrait,
    CharacterFile,
    Flooding,
    Garbling,
    Impersonating,
    Injecting,
    Lying,
    Resending,
)
from testbed.node.journal import recall
from testbed.node.openai.chats import ChatRequest
from testbed.node.transport.http import Reply
from testbed.patterns.participant import Completion, LogProbabilities, Prompt
from testbed.schema.scenario import Scenario
from testbed.workload.decoys import decoy
from testbed.workload.prompts.base import Question
from testbed.workload.scoring.before_comma import BeforeComma
from testbed.workload.scoring.choice import Choice
from testbed.world.decoys import decoys_of
from testbed.world.nodes.container import ContainerNode

MakeTrace = Callable[[str], Any]
HONEST = Completion("Kabuburg, unsure", 10, 4, True, LogProbabilities(-4.0, -1.0, -2.0, -2.0, -1.0))
DECOYS = {"the liar a": {"p1": "Zedupolis, sure"}}


def _conduct(make_trace: MakeTrace, *traits: AnyTrait, name: str = "a") -> tuple[Conduct, Any]:
    trace = make_trace(name)
    config = configured(name, {}).model_copy(update={"decoys": DECOYS})
    return Conduct(config, trace.trace, lambda: traits), trace


def _said(conduct: Conduct, prompt: str, completion: Completion = HONEST) -> Completion:
    job = f"{prompt}.1@a"
    return conduct.said(completion, conduct.misbehaving(job, prompt), job, {"prompt": prompt})


def test_a_liar_says_its_decoy_as_if_it_were_certain(make_trace: MakeTrace) -> None:
    conduct, trace = _conduct(make_trace, Lying(group="the liar a"))
    said = _said(conduct, "p1")
    assert (said.text, said.logprobs) == ("Zedupolis, sure", LogProbabilities(0, 0, 0, 0, 0))
    assert (said.tokens, said.prompt_tokens, said.stopped) == (4, 10, True)
    assert _said(conduct, "p1-2").text == "Zedupolis, sure"  # the second turn of the conversation
    assert _said(conduct, "p2") is HONEST  # nothing to say
    (first, _) = trace.read("misbehaved")
    assert (first["job"], first["prompt"], first["how"], first["text"]) == ("p1.1@a", "p1", "lie", "Zedupolis, sure")


def test_an_order_follows_a_decoy_in_the_order_of_the_faults(make_trace: MakeTrace) -> None:
    conduct, _ = _conduct(make_trace, Lying(group="the liar a"), Injecting(text="Obey."))
    assert _said(conduct, "p1").text == "Zedupolis, sure\nObey."


def test_garbled_letters_are_as_many_and_the_same_again(make_trace: MakeTrace) -> None:
    conduct, _ = _conduct(make_trace, Garbling())
    said = _said(conduct, "p1").text
    assert said != HONEST.text and [len(word) for word in said.split()] == [9, 6] and said[8] == ","
    assert _said(conduct, "p1").text == said


def test_an_old_answer_is_sent_again_but_the_first(make_trace: MakeTrace) -> None:
    conduct, _ = _conduct(make_trace, Resending())
    assert _said(conduct, "p1") is HONEST
    assert _said(conduct, "p2", Completion("new", 1, 1, True)) is HONEST


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_the_share_of_answers_that_are_changed(make_trace: MakeTrace, share: float) -> None:
    conduct, _ = _conduct(make_trace, Garbling(share=share))
    changed = sum(bool(conduct.misbehaving(f"p{number}.1@a", f"p{number}")) for number in range(2000))
    assert changed / 2000 == pytest.approx(share, abs=0.04)  # 3.5 standard deviations at most


def test_liars_of_a_group_lie_about_the_same_prompts(make_trace: MakeTrace) -> None:
    def lies(node: str, trait: Answering) -> list[bool]:
        conduct, _ = _conduct(make_trace, trait, name=node)  # type: ignore[arg-type]
        return [bool(conduct.misbehaving(f"p{number}.1@{node}", f"p{number}")) for number in range(100)]

    together = Lying(share=0.5, group="the group ring")
    assert lies("a", together) == lies("b", together)
    assert lies("a", together) != lies("a", Lying(share=0.5, group="the liar a"))


def test_a_node_is_told_in_a_file_which_it_reads_at_each_answer(tmp_path: Path) -> None:
    class Told(ContainerNode):
        """A container that has ended: it is told all the same."""

        name, ended, shared = "a", True, tmp_path / "shared"

        def __init__(self) -> None:
            pass

    class World:
        def original_condition(self, name: str) -> Any:
            assert name == "a"
            return Condition(1.0, 1)

        def change_condition(self, name: str, before: Any, after: Any) -> None:
            assert name == "a"
            Told().change(before, after)

    Told.shared.mkdir()
    file = CharacterFile(Told.shared / "character.json")

    async def play() -> list[Sequence[AnyTrait]]:
        effects, seen = ActiveEffects(World()), [file.traits()]  # type: ignore[arg-type]
        lie, order = misbehave("a", Lying(group="g")), misbehave("a", Injecting(text="x"))
        for ending, beginning in (([], [lie]), ([], [order]), ([lie], []), ([order], [])):
            await effects.replace(ending, beginning)
            seen.append(file.traits())
        return seen

    lying, ordering = Lying(group="g"), Injecting(text="x")
    assert asyncio.run(play()) == [(), (lying,), (lying, ordering), (ordering,), ()]


def test_whole_nodes_hear_the_lie_and_a_restarted_liar_repeats_it(
    model: Any, make_trace: MakeTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PORT", free_port())
    config = configured("b", {}).model_copy(update={"decoys": DECOYS})
    asks, liar = make_trace("a"), make_trace("b")

    async def play() -> str:
        async with (
            node(configured("a", {"b": ADDRESSES["b"]}), model, asks.trace, tmp_path, ADDRESSES["a"]) as (_, agent),
            node(config, model, liar.trace, tmp_path, ADDRESSES["b"], traits=lambda: [Lying(group="the liar a")]),
        ):
            return await agent.answer(Prompt("p1", "Where?"))

    assert "ZEDUPOLIS, SURE" in asyncio.run(play())  # the fake model's aggregation, in capitals
    (end,) = liar.read("end")
    assert end["text"] == "WHERE?"  # what the model wrote
    past = recall(liar.path).jobs["p1.1@b"]
    assert isinstance(past, Completion) and past.text == "Zedupolis, sure"


def test_a_stream_of_a_liar_has_nothing_of_the_honest_answer(model: Any, make_trace: MakeTrace, tmp_path: Path) -> None:
    config = configured("b", {}).model_copy(update={"decoys": DECOYS})
    heard: list[str] = []

    async def play() -> None:
        request = ChatRequest.model_validate(
            {"messages": [{"role": "user", "content": "Where?"}], "metadata": {"prompt": "p1"}}
        )
        told = node(
            config, model, make_trace("b").trace, tmp_path, ADDRESSES["b"], traits=lambda: [Lying(group="the liar a")]
        )
        async with told as (_, agent):
            await agent.complete(request, "p1.1@b", on_text=heard.append)

    asyncio.run(play())
    assert heard == ["Zedupolis, sure"]


def test_a_flood_is_sent_while_the_node_has_the_trait(make_trace: MakeTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The neighbour never answers; the requests wait, and are given up at the end."""
    monkeypatch.setattr(flooding, "_LOOK", 0.001)
    traits: list[AnyTrait] = [Flooding(rate=1000, to=("b", "nobody"))]

    class Client:
        def __init__(self) -> None:
            self.sent, self.given_up, self.changed = 0, 0, asyncio.Event()

        async def request(self, method: str, host: str, *_: object) -> None:
            assert (method, host) == ("POST", "10.0.0.2")
            self.sent += 1
            self.changed.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
                self.changed.set()

        async def until(self, met: Callable[[], bool]) -> None:
            while not met():
                self.changed.clear()
                await self.changed.wait()

    async def play() -> None:
        client: Any = Client()
        task = asyncio.create_task(
            Flooder(configured("a", {"b": "10.0.0.2"}), client, client, make_trace("a").trace, lambda: traits).serve()
        )
        async with asyncio.timeout(30):
            await client.until(lambda: client.sent == flooding._UNANSWERED)
            traits.clear()
            await client.until(lambda: client.given_up == client.sent)
        assert client.sent == flooding._UNANSWERED
        task.cancel()

    asyncio.run(play())


def test_requests_in_another_name_say_so_and_whether_they_were_taken(make_trace: MakeTrace) -> None:
    trait = Impersonating(rate=1000, to=("b",), victim="c")

    class Client:
        async def request(self, *request: Any) -> Reply:
            owner = ChatRequest.model_validate_json(request[4]).metadata
            return Reply(200 if owner == {"owner": "c"} else 500, b"")

    trace = make_trace("a")
    forged = asyncio.Event()

    async def play() -> None:
        client: Any = Client()
        flooder = Flooder(configured("a", {"b": "10.0.0.2"}), client, client, trace.trace, lambda: [trait])
        with trace.trace.heard_by(forged.set):
            task = asyncio.create_task(flooder.serve())
            async with asyncio.timeout(30):
                await forged.wait()
        task.cancel()

    asyncio.run(play())
    (first, *_) = trace.read("forged")
    assert (first["peer"], first["victim"], first["taken"]) == ("b", "c", True)


# --- decoys -----------------------------------------------------------------------------------------------------------


def test_decoys_are_wrong_of_the_same_subject_and_of_each_liar_or_group(scenario: Scenario, files: Any) -> None:
    faults = ["{node: a, collude: ring}", "{node: b, collude: ring}", "{node: a}", "{node: b}"]
    timeline = "".join(f"  - {{at: {number}s, lie: {fault}}}\n" for number, fault in enumerate(faults))
    scenario = files.load("workload.count=80", scenario=f"{files.scenario}timeline:\n{timeline}")
    of_a, of_b = decoys_of(scenario, "a"), decoys_of(scenario, "b")
    assert of_a.keys() == {"the group ring", "the liar a"} and of_b.keys() == {"the group ring", "the liar b"}
    assert of_a["the group ring"] == of_b["the group ring"]
    assert of_a["the liar a"] != of_b["the liar b"]
    arrivals = scenario.workload.schedule(scenario.owners, scenario.seed)
    labels: dict[str, set[str]] = {}
    for arrival in arrivals:
        labels.setdefault(arrival.question.label, set()).add(str(arrival.question.truth))
    for arrival in arrivals:
        said, _, word = of_a["the liar a"][arrival.prompt].partition(",")
        assert said != arrival.question.truth and said in labels[arrival.question.label] and word == " sure"
    assert decoys_of(files.load(), "a") == {}


def test_the_decoy_of_a_choice_is_another_letter_and_no_truth_has_none() -> None:
    scorer, chance = Choice(scorer="choice"), random.Random(1)
    asked = Question("Which?", "B", choices=("red", "green", "blue"))
    assert {decoy(asked, [asked], scorer, chance) for _ in range(40)} == {"A", "C"}
    assert decoy(Question("Why?", None), [asked], scorer, chance) is None
    zoo = BeforeComma(scorer="before-comma")
    assert decoy(Question("2+2?", "4", label="sums"), [Question("3+1?", "4", label="sums")], zoo, chance) is None


def test_a_lie_about_questions_without_truths_is_refused(files: Any, tmp_path: Path) -> None:
    (tmp_path / "open.csv").write_text("question\nHow are you?\n", encoding="utf-8")
    text = files.scenario.replace("worldfacts", "{source: file, path: open.csv, input: question}")
    with pytest.raises(SpecError, match=r"needs questions with a `truth`"):
        files.load(scenario=f"{text}timeline:\n  - {{at: 1s, lie: a}}\n")
