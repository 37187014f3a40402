"""The questions about the real world that come along."""

import re
from collections import Counter

from testbed.workload.prompts.everyday import Everyday
from testbed.workload.scoring.exact import Exact

SOURCE = Everyday(source="everyday")
KNOWN = SOURCE.known()


def test_there_are_six_tasks_in_three_levels_and_no_question_twice() -> None:
    levels = Counter((entry.columns["task"], entry.columns["level"]) for entry in SOURCE.entries())
    tasks = {"capitals", "opposites", "elements", "sums", "units", "verbs"}
    assert levels.keys() == {(task, level) for task in tasks for level in ("easy", "medium", "hard")}
    assert min(levels.values()) >= 25
    assert len({question.text for question in KNOWN}) == len({question.id for question in KNOWN}) == len(KNOWN) == 553


def test_every_accepted_answer_is_right_and_no_question_is_its_own_example() -> None:
    scorer = Exact(scorer="exact")
    for question in KNOWN:
        assert [scorer.score(question, truth) for truth in question.truths] == [1.0] * len(question.truths)
        assert scorer.objection(question) is None
        assert [message["role"] for message in question.before] == ["user", "assistant"] * 3
        assert question.text not in {message["content"] for message in question.before}


def test_sums_are_sums() -> None:
    sums = [question for question in KNOWN if question.label == "sums"]
    for question in sums:
        left, right = map(int, re.findall(r"\d+", question.text))
        assert question.truths == (f"{left} + {right} = {left + right}", str(left + right))


def test_a_selection_asks_one_task() -> None:
    units = Everyday.model_validate({"source": "everyday", "select": {"where": {"task": "units", "level": "easy"}}})
    asked = units.questions(20, seed=1)
    assert {question.label for question in asked} == {"units"}
    assert len({question.text for question in asked}) == 20
