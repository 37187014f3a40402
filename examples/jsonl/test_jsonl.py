from pathlib import Path

import pytest
from testbed_jsonl import Jsonl

from testbed.core.errors import SpecError
from testbed.schema.scenario import load_scenario

SCENARIO = Path(__file__).with_name("scenario.yaml")
QUESTIONS = Path(__file__).with_name("questions.jsonl")


def test_every_question_is_asked_before_one_is_asked_again() -> None:
    source = load_scenario(SCENARIO).workload.prompts
    assert isinstance(source, Jsonl)
    known = QUESTIONS.read_text(encoding="utf-8").splitlines()
    asked = [question.text for question in source.questions(2 * len(known), seed=1)]
    assert len(set(asked[: len(known)])) == len(known)
    assert sorted(asked) == sorted(2 * asked[: len(known)])
    assert asked == [question.text for question in source.questions(2 * len(known), seed=1)]
    assert asked != [question.text for question in source.questions(2 * len(known), seed=2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no questions"),
        ('{"text": "2 + 2?"}\n{"question": "3 + 3?"}', r"mine.jsonl:2: a line must read"),
        ("2 + 2?", r"mine.jsonl:1: a line must read"),
        (None, "there is no file"),
    ],
)
def test_a_wrong_file_is_a_mistake_of_the_scenario(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "mine.jsonl"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match=f"workload.prompts.path: .*{message}"):
        load_scenario(SCENARIO, [f"workload.prompts.path={file}"])
