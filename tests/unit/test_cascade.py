"""Cascades and routes, with nodes that answer what a test tells them to."""

import asyncio
from typing import Any

import acting
import pytest
from acting import AROUND, CLOUD, DEVICE, EDGE, Actor

from testbed.patterns.cascade import Cascade
from testbed.patterns.participant import Budget, JobError, Prompt, Surroundings
from testbed.patterns.route import Route

PROMPT = Prompt("p1", "Mail bob@example.org or alice@example.org about bob@example.org", label="mail")
NODES = {"phone": AROUND, "edge1": Surroundings(EDGE, [DEVICE, CLOUD], 10), "cloud": Surroundings(CLOUD, [EDGE], 10)}


def cascade(
    stages: Any = ("self", "edge1", "cloud"), signal: str = "word", above: Any = "sure", **more: Any
) -> Cascade:
    accept = {"signal": signal, "above": above, **more.pop("accept", {})}
    return Cascade.model_validate({"kind": "cascade", "stages": list(stages), "accept": accept, **more})


def play(pattern: Cascade | Route, actor: Actor, prompt: Prompt = PROMPT) -> str:
    return acting.play(pattern.answer(prompt, actor))


@pytest.mark.parametrize(
    ("says", "answer", "nodes"),
    [
        ({"phone": "x, sure"}, "x, sure", ["phone"]),
        ({"phone": "x, maybe", "edge1": "y, sure"}, "y, sure", ["phone", "edge1"]),
        ({"phone": "x, maybe", "edge1": "y", "cloud": "z, unsure"}, "z, unsure", ["phone", "edge1", "cloud"]),
    ],
)
def test_the_first_accepted_answer_counts_and_the_last_is_accepted(says: Any, answer: str, nodes: list[str]) -> None:
    actor = Actor(says)
    assert play(cascade(), actor) == answer
    assert actor.nodes == nodes
    least, most = cascade().calls(AROUND) or (0, 0)
    assert least <= len(nodes) <= most


@pytest.mark.parametrize(
    ("signal", "above", "passes"),
    [
        *(("mean", -2.1, True), ("mean", -1.9, False), ("first", -0.1, True), ("first", 0.0, False)),
        *(("p10", -9.0, True), ("p10", -8.9, False)),
    ],
)
def test_thresholds_are_compared_with_the_signal_of_the_answer(signal: str, above: float, passes: bool) -> None:
    values = [-0.1, -0.2, -0.3, -0.4, -9.0]  # the mean is -2.0, the tenth percentile by nearest rank -9.0
    actor = Actor(logprobs={"phone": values})
    play(cascade(["self", "cloud"], signal, above), actor)
    assert (actor.nodes == ["phone"]) is passes
    assert actor.decisions[0].threshold == above


def test_every_stage_can_have_a_threshold_of_its_own() -> None:
    actor = Actor({"phone": "x, sure", "edge1": "y, maybe"})
    assert play(cascade(above=["sure", "maybe"]), actor) == "x, sure"
    actor = Actor({"phone": "x, maybe", "edge1": "y, maybe"})
    assert play(cascade(above=["sure", "maybe"]), actor) == "y, maybe"


def test_every_decision_is_recorded_with_its_score() -> None:
    actor = Actor({"phone": "x, maybe", "edge1": "y, sure"})
    play(cascade(), actor)
    seen = [(one.source, one.to, one.score, one.threshold, one.reason) for one in actor.decisions]
    assert seen == [
        ("phone", "edge1", pytest.approx(1 / 3), 1.0, "not accepted"),
        ("edge1", "edge1", 1.0, 1.0, "accepted"),
    ]


def test_a_node_verifies_its_own_answer_as_often_as_it_is_told() -> None:
    class Judging(Actor):
        async def complete(self, call: Any, at: Any = None, timeout: float | None = None) -> Any:
            done = await super().complete(call, at, timeout)
            number = call.id.rpartition("-")[2]
            said = "Yes." if number in ("1", "3") else "no"
            return type(done)(said if call.role == "verification" else done.text, 1, 1, True)

    actor = Judging()
    pattern = cascade(["self", "cloud"], "verify", 0.5, accept={"times": 4})
    play(pattern, actor)
    assert [call.role for _, call, _ in actor.asked] == ["answer", *["verification"] * 4]
    assert len({call.id for _, call, _ in actor.asked}) == 5
    assert actor.decisions[-1].score == 0.5
    assert pattern.calls(AROUND) == (5, 6)


def test_the_best_answer_so_far_counts_if_later_stages_fail() -> None:
    actor = Actor({"phone": "x, maybe", "edge1": "y, unsure", "cloud": JobError("gone")})
    assert play(cascade(), actor) == "x, maybe"
    assert actor.reasons[-1] == "best so far"
    with pytest.raises(JobError, match="gone"):
        play(cascade(["cloud"]), actor)


class TestBudgets:
    def test_a_call_that_may_cost_more_than_is_left_is_not_made(self) -> None:
        read = len(PROMPT.text) + 16
        most = (read * 10 + 10 * 100) / 1e6
        for cost, nodes in ((most * 1.001, ["phone", "cloud"]), (most * 0.999, ["phone"])):
            actor = Actor()
            play(cascade(["self", "cloud"], budget={"cost": cost}), actor)
            assert actor.nodes == nodes
        assert [reason for reason in actor.reasons if reason.startswith("budget: cost")]

    def test_tokens_are_counted_over_all_stages(self) -> None:
        for tokens, nodes in ((15, ["phone", "edge1"]), (14, ["phone"]), (20, ["phone", "edge1", "cloud"])):
            actor = Actor()  # every answer has 5 tokens, and may have 10
            play(cascade(budget={"tokens": tokens}), actor)
            assert actor.nodes == nodes

    def test_calls_get_the_time_that_is_left_and_none_is_made_without_any(self) -> None:
        actor = Actor(takes={"phone": 2, "edge1": 0.25})
        play(cascade(budget={"deadline": "3s"}, timeout="2500ms"), actor)
        assert [timeout for _, _, timeout in actor.asked] == [3.0, 1.0, 0.75]
        actor = Actor(takes={"phone": 2})
        play(cascade(budget={"deadline": "2s"}), actor)
        assert actor.nodes == ["phone"]
        assert any(reason.startswith("budget: deadline") for reason in actor.reasons)

    def test_what_is_left_travels_with_a_delegation(self) -> None:
        actor = Actor(takes={"phone": 1})
        play(cascade(["self", {"delegate": "edge1"}], budget={"tokens": 12, "cost": 1, "deadline": "9s"}), actor)
        ((node, prompt),) = actor.delegated
        assert (node, prompt.budget.tokens, prompt.budget.price) == ("edge1", 7, 1)
        assert prompt.budget.seconds == 8

    def test_the_budget_of_a_delegated_prompt_is_kept_as_well(self) -> None:
        actor = Actor()
        play(cascade(), actor, Prompt("p1", "?", Budget(tokens=12)))
        assert actor.nodes == ["phone"]


class TestPrivacy:
    def test_a_private_prompt_never_leaves_its_tier(self) -> None:
        private = cascade(["self", "edge1", {"delegate": "cloud"}], privacy={"keep": "mail"})
        actor = Actor()
        assert play(private, actor) == "phone says"
        assert (actor.nodes, actor.delegated, actor.disclosures) == (["phone"], [], [])
        assert actor.reasons[1].startswith("privacy: ")
        play(private, actor := Actor(), Prompt("p2", "?", label="other"))
        assert (actor.nodes, len(actor.delegated)) == (["phone", "edge1"], 1)

    def test_secrets_leave_as_typed_tokens_and_come_back(self) -> None:
        actor = Actor({"phone": "x", "cloud": "to [EMAIL-2], not [EMAIL-1]"})
        assert play(cascade(["self", "cloud"], privacy={"rewrite": "mask"}), actor) == (
            "to alice@example.org, not bob@example.org"
        )
        own, sent = (call.messages[0]["content"] for _, call, _ in actor.asked)
        assert own == PROMPT.text
        assert sent == "Mail [EMAIL-1] or [EMAIL-2] about [EMAIL-1]"
        assert actor.disclosures == [("cloud", sent, 2, 0)]

    def test_what_is_not_masked_counts_as_exposed(self) -> None:
        actor = Actor()
        play(cascade(["self", "cloud"], privacy={}), actor)
        assert actor.disclosures == [("cloud", PROMPT.text, 0, 2)]


class TestOutage:
    def test_one_detection_serves_all_prompts(self) -> None:
        actor = Actor(takes={"phone": 0.5}, unreachable={"cloud"})
        pattern = cascade(["self", "cloud"], outage={"detect": "3s"})

        async def scene() -> None:
            loop = asyncio.get_running_loop()
            assert await pattern.answer(PROMPT, actor) == "phone says"
            assert 0.5 < loop.time() <= 0.5 + 3
            begin = loop.time()
            prompts = [Prompt(f"p{number}", "?") for number in range(9)]
            answers = await asyncio.gather(*(pattern.answer(prompt, actor) for prompt in prompts))
            assert (set(answers), loop.time()) == ({"phone says"}, begin + 0.5)
            assert actor.nodes.count("cloud") == 1
            actor.unreachable.clear()
            await asyncio.sleep(2)  # at most the pause between two pings
            assert await pattern.answer(PROMPT, actor) == "cloud says"

        acting.play(scene())

    def test_all_prompts_that_wait_when_a_node_is_cut_off_go_on_after_one_detection(self) -> None:
        actor = Actor(takes={"cloud": 60})
        pattern = cascade(["self", "cloud"], outage={"detect": "3s"})

        async def scene() -> None:
            loop = asyncio.get_running_loop()
            prompts = [Prompt(f"p{number}", "?") for number in range(5)]
            answering = [asyncio.create_task(pattern.answer(prompt, actor)) for prompt in prompts]
            await asyncio.sleep(10.5)
            actor.unreachable.add("cloud")
            assert await asyncio.gather(*answering) == ["phone says"] * 5
            assert 10.5 < loop.time() <= 13.5

        acting.play(scene())

    def test_one_lost_ping_ends_nothing(self) -> None:
        actor = Actor({"cloud": "late"}, takes={"cloud": 20})

        async def scene() -> str:
            answering = asyncio.create_task(cascade(["self", "cloud"], outage={"detect": "3s"}).answer(PROMPT, actor))
            await asyncio.sleep(5.5)
            actor.unreachable.add("cloud")
            await asyncio.sleep(1)
            actor.unreachable.clear()
            return await answering

        assert acting.play(scene()) == "late"

    def test_a_slow_node_that_answers_pings_is_waited_for(self) -> None:
        actor = Actor({"cloud": "late"}, takes={"cloud": 30})
        assert play(cascade(["self", "cloud"], outage={"detect": "3s"}), actor) == "late"
        assert actor.pings >= 29

    def test_a_prompt_can_fail_instead(self) -> None:
        actor = Actor(unreachable={"cloud"})
        with pytest.raises(JobError, match="cloud cannot be reached"):
            play(cascade(["self", "cloud"], outage={"detect": "100ms", "fallback": "fail"}), actor)


class TestNesting:
    def test_a_stage_can_be_a_pattern(self) -> None:
        inner = {"kind": "gossip-moa", "layers": 1, "proposers": 1, "neighbours": "linked"}
        actor = Actor({"phone": "x, maybe"})
        pattern = cascade([inner, "cloud"])
        assert play(pattern, actor) == "cloud says"
        assert sorted(actor.nodes) == ["cloud", "edge1", "phone", "phone"]  # the cloud is not linked
        assert [call.layer for node, call, _ in actor.asked if node == "cloud"] == [3]
        assert len({(node, call.id) for node, call, _ in actor.asked}) == 4
        assert pattern.calls(AROUND) == (3, 4)
        assert [one.source for one in actor.decisions] == ["gossip-moa", "cloud"]

    def test_a_nested_pattern_keeps_the_budget(self) -> None:
        inner = {"kind": "gossip-moa", "layers": 1, "proposers": 2}
        actor = Actor()
        with pytest.raises(JobError):
            play(cascade([inner], budget={"tokens": 12}), actor)
        assert actor.nodes == ["phone"]

    def test_what_is_written_is_read_again(self) -> None:
        inner = {"kind": "gossip-moa", "layers": 1, "proposers": 1, "timeout": 2}
        pattern = cascade([{**inner, "timeout": "2s"}, {"delegate": "edge1"}, "cloud"], budget={"deadline": "3s"})
        written = pattern.model_dump(mode="json", exclude_none=True)
        assert written["stages"][0].items() >= {**inner, "timeout": "2s", "neighbours": "all"}.items()
        assert Cascade.model_validate(written) == pattern


def route(**more: Any) -> Route:
    strong = more.pop("strong", {"score": "length", "above": 10})
    return Route.model_validate({"kind": "route", "stages": ["self", "cloud"], "strong": strong, **more})


class TestRoute:
    @pytest.mark.parametrize(
        ("text", "node"), [("short", "phone"), ("just ten c", "cloud"), ("far longer one", "cloud")]
    )
    def test_the_score_of_the_prompt_decides(self, text: str, node: str) -> None:
        actor = Actor()
        assert play(route(), actor, Prompt("p1", text)) == f"{node} says"
        assert actor.nodes == [node]
        assert (actor.decisions[0].to, actor.decisions[0].score) == (node, len(text))

    def test_chance_sends_the_share_that_is_left_above_its_threshold(self) -> None:
        pattern = route(strong={"score": "random", "above": 0.7})
        actor = Actor()

        async def scene() -> None:
            for number in range(1000):
                await pattern.answer(Prompt(f"p{number}", "?"), actor)

        acting.play(scene())
        assert 0.26 < actor.nodes.count("cloud") / 1000 < 0.34
        by_node = {one.to: one.propensity for one in actor.decisions}
        assert by_node == {"cloud": pytest.approx(0.3), "phone": 0.7}

    def test_the_other_stage_answers_if_the_chosen_one_fails(self) -> None:
        actor = Actor({"cloud": JobError("gone")})
        assert play(route(), actor) == "phone says"
        assert actor.nodes == ["cloud", "phone"]


MISTAKES: list[tuple[dict[str, Any], tuple[str | int, ...], str]] = [
    ({"stages": ["self", "claud"]}, ("stages", 1), "there is no node 'claud'; known are self, phone, edge1, cloud"),
    ({"stages": ["self", "cloud", "cloud"]}, ("stages", 2), "'cloud' is a stage already"),
    ({"stages": ["self", "phone"]}, ("stages", 1), "prompts arrive at 'phone' itself"),
    ({"stages": ["self", "cloud"], "neighbours": "linked"}, ("stages", 1), "'phone' is not linked to 'cloud'"),
    ({"accept": {"signal": "mean", "above": 0.5}}, ("accept", "above"), "0.5 is no threshold of `mean`"),
    ({"accept": {"signal": "word", "above": [0.1]}}, ("accept", "above"), "1 thresholds for 3 stages"),
    ({"accept": {"signal": "votes", "above": 0.5}}, ("accept", "signal"), "the stage self cannot deliver `votes`"),
    ({"stages": [{"delegate": "edge1"}, "cloud"], "accept": {"signal": "p10", "above": -1.0}}, ("accept", "signal"),
     "the delegation to edge1 cannot deliver `p10`"),
    ({"budget": {"tokens": 9}}, ("budget", "tokens"), "a call may write 10 tokens"),
    ({"stages": ["cloud"], "budget": {"cost": 0.001}}, ("budget", "cost"), "the cheapest call may cost 0.00101"),
    ({"stages": ["cloud"], "privacy": {"keep": "x"}}, ("privacy", "keep"), "no stage is in the tier of 'phone'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "place", "message"), MISTAKES)
def test_what_does_not_fit_the_nodes_is_refused_with_its_place(
    options: dict[str, Any], place: tuple[str | int, ...], message: str
) -> None:
    accept = options.pop("accept", {"signal": "word", "above": "sure"})
    stages = options.pop("stages", ["self", "edge1", "cloud"])
    pattern = Cascade.model_validate({"kind": "cascade", "stages": stages, "accept": accept, **options})
    around = {name: Surroundings(around.itself, [peer for peer in around.peers if peer.linked
              or pattern.neighbours == "all"], 10) for name, around in NODES.items()}  # fmt: skip
    ((found, sentence),) = pattern.mistakes(around, ["phone"])
    assert found == place
    assert message in sentence


def test_prompts_arrive_at_the_nearest_tier_without_the_stages() -> None:
    assert cascade(["self", "cloud"]).owners(NODES) == ["phone"]
    assert cascade([{"delegate": "phone"}, "cloud"]).owners(NODES) == ["edge1"]


def test_a_node_called_self_is_refused_where_self_is_a_stage() -> None:
    (mistake,) = cascade(["self", "cloud"]).mistakes({**NODES, "self": AROUND}, ["phone"])
    assert mistake[0] == ("stages", 0)
    assert "rename the node" in mistake[1]
