"""Questions from files of the user's, and the mistakes in them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from testbed.core.errors import SpecError
from testbed.core.input_files import input_files
from testbed.schema.scenario import Scenario
from testbed.workload.prompts.base import Question

SUMS = [
    {
        "question": f"What is {n} + 1?",
        "answer": f"{n} and 1\nmake <<{n}+1={n + 1}>>.\n#### {n + 1}",
        "topic": f"t{n % 2}",
    }
    for n in range(8)
]

ENDPOINT = "{endpoint: https://api.example/v1, model: theirs}"

Load = Callable[..., Scenario]


@pytest.fixture
def load(files: Any) -> Load:
    """Loads a scenario whose prompts have the options given."""

    def load(scorer: str | None = None, *assignments: str, **prompts: Any) -> Scenario:
        written = json.dumps({"source": "file", **prompts})
        text = files.scenario.replace("prompts: worldfacts", f"prompts: {written}")
        if scorer:
            text = text.replace("  count: 6", f"  count: 6\n  scorer: {scorer}")
        return files.load(*assignments, scenario=text)  # type: ignore[no-any-return]

    return load


def _jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _known(scenario: Scenario) -> list[Question]:
    return list(scenario.workload.prompts.known())


def test_three_lines_read_questions_whose_truth_is_at_the_end_of_a_solution(load: Load, tmp_path: Path) -> None:
    file = _jsonl(tmp_path / "sums.jsonl", SUMS)
    scenario = load("number", path="sums.jsonl", input="question", target="answer", extract="#### (.+)")
    known = _known(scenario)
    assert [(question.text, question.truth) for question in known] == [
        (row["question"], str(n + 1)) for n, row in enumerate(SUMS)
    ]
    assert known[3].place == f"{file}:4"
    assert file in set(input_files(scenario))


def test_every_question_is_asked_before_one_is_asked_again(load: Load, tmp_path: Path) -> None:
    _jsonl(tmp_path / "sums.jsonl", SUMS)
    source = load(path="sums.jsonl", input="question").workload.prompts
    asked = [question.text for question in source.questions(16, seed=1)]
    assert sorted(asked[:8]) == sorted(asked[8:]) == sorted(row["question"] for row in SUMS)
    assert asked == [question.text for question in source.questions(16, seed=1)]
    assert asked != [question.text for question in source.questions(16, seed=2)]


def test_quoted_lines_of_csv_survive_and_choices_have_letters(load: Load, tmp_path: Path) -> None:
    (tmp_path / "quiz.csv").write_text('"Which, of\nthese?",one,"two\n2",B\n"And\n\nnow?",x,y,a\n', encoding="utf-8")
    options = {"header": ["q", "a", "b", "right"], "input": "q", "choices": ["a", "b"], "target": "right"}
    scenario = load(path="quiz.csv", **options)
    first, second = _known(scenario)
    assert (first.text, first.truth) == ("Which, of\nthese?\nA. one\nB. two\n2", "B")
    assert (second.text, second.truth) == ("And\n\nnow?\nA. x\nB. y", "A")
    assert second.place.endswith("quiz.csv:4")
    scorer = scenario.workload.scorer
    answers = ["The answer is B.", "two 2", "A", "b"]
    assert [scorer.score(first, answer) for answer in answers] == [1.0, 1.0, 0.0, 1.0]


def test_answers_are_constrained_to_the_letters_of_choices(load: Load, tmp_path: Path) -> None:
    (tmp_path / "quiz.csv").write_text("q,a,b,right\nWhich?,one,two,B\n", encoding="utf-8")
    options = {"path": "quiz.csv", "input": "q", "choices": ["a", "b"], "target": "right"}
    for assignments, allowed in [((), ()), (("workload.constrain=choices",), ("A", "B"))]:
        scenario = load(None, *assignments, **options)
        questions = [arrival.question for arrival in scenario.workload.schedule(scenario.owners, scenario.seed)]
        assert {question.allowed for question in questions} == {allowed}


@pytest.mark.parametrize(
    ("choices", "assignments", "message"),
    [
        (None, [], "quiz.csv:2 has no choices; name them in `prompts`, or leave `constrain` out"),
        (
            ["a", "b"],
            ["pattern={kind: hierarchy, split: sentences}"],
            "the pattern 'hierarchy' cannot hold answers",
        ),
        (["a", "b"], [f"topology.nodes.b={ENDPOINT}"], "node 'b' (endpoint) cannot hold answers to choices"),
    ],
)
def test_what_cannot_be_constrained_is_refused_by_name(
    load: Load, tmp_path: Path, choices: list[str] | None, assignments: list[str], message: str
) -> None:
    (tmp_path / "quiz.csv").write_text("q,a,b,right\nWhich?,one,two,B\n", encoding="utf-8")
    options = {"choices": choices} if choices else {}
    with pytest.raises(SpecError) as error:
        load(None, "workload.constrain=choices", *assignments, path="quiz.csv", input="q", **options)
    assert message in str(error.value)


@pytest.mark.parametrize(("right", "truth"), [(1, "B"), ("green", "B"), ("c", "C")])
def test_the_right_choice_is_a_number_a_text_or_a_letter(load: Load, tmp_path: Path, right: Any, truth: str) -> None:
    _jsonl(tmp_path / "q.jsonl", [{"input": "Which?", "options": ["red", "green", "blue"], "right": right}])
    (question,) = _known(load(path="q.jsonl", choices="options", target="right"))
    assert question.truth == truth


def test_both_turns_of_a_conversation_are_kept_unless_the_first_is_asked_for(load: Load, tmp_path: Path) -> None:
    _jsonl(tmp_path / "turns.jsonl", [{"question_id": 81, "category": "writing", "turns": ["Write.", "Again."]}])
    options = {"path": "turns.jsonl", "input": "turns", "label": "category", "id": "question_id"}
    (both,) = _known(load(**options))
    assert (both.text, both.turns, both.label, both.id) == ("Write.", ("Again.",), "writing", "81")
    (first,) = _known(load(**options, turns="first"))
    assert (first.text, first.turns) == ("Write.", ())


def test_parquet_template_system_examples_and_selection(load: Load, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(SUMS), tmp_path / "sums.parquet")
    options: dict[str, Any] = {"path": "sums.parquet", "input": "question", "target": "answer", "extract": "#### (.+)"}
    known = _known(load(**options, template="({topic}) {input}", system="Be brief.", examples=2))
    assert len(known) == 6
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert all([message["role"] for message in question.before] == roles for question in known)
    shown = {message["content"] for message in known[0].before}
    assert not shown & {question.text for question in known}
    assert all(question.text.startswith(("(t0) What", "(t1) What")) for question in known)
    chosen = _known(load(**options, select={"where": {"topic": "t1"}, "count": 3}))
    assert len(chosen) == 3
    assert {question.text for question in chosen} <= {row["question"] for row in SUMS if row["topic"] == "t1"}


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.jsonl", '{"q": "1?"}', {}, "a.jsonl:1: there is no column 'input'; there are q"),
        ("a.jsonl", "", {}, "a.jsonl: has no rows"),
        ("a.csv", "input\n", {}, "a.csv: has no rows"),
        ("a.jsonl", '{"input": "x"}\n{', {}, "a.jsonl:2: is not JSON"),
        ("a.jsonl", "[1]", {}, "a.jsonl:1: must be a JSON object"),
        ("a.csv", 'input,b\n"x\ny",1\nz\n', {}, "a.csv:4: has 1 cells; the columns are input, b"),
        ("a.csv", 'input\n"x', {}, "is not CSV"),
        ("a.parquet", "no", {}, "a.parquet: is not a Parquet file"),
        ("a.txt", "x", {}, "the name must end in .jsonl, .csv, .parquet"),
        ("a.jsonl", '{"input": 5}', {}, "a.jsonl:1: input is 5; a question must be text"),
        ("a.jsonl", '{"input": "x", "t": ""}', {"target": "t"}, "a.jsonl:1: t is empty"),
        ("a.jsonl", '{"input": "x", "t": "y"}', {"target": "t", "extract": "#(.)"}, "a.jsonl:1: '#(.)' finds nothing"),
        ("a.csv", "input,a,b,t\nx,1,2,C\n", {"choices": ["a", "b"], "target": "t"}, "a.csv:2: the target 'C' is no"),
        ("a.jsonl", '{"input": "x", "t": "abc"}', {"target": "t", "scorer": "number"}, "'abc' is no number"),
        ("a.jsonl", '{"input": ["x", "y"], "t": "1"}', {"target": "t"}, "a conversation cannot have a target"),
        ("a.jsonl", '{"input": "x"}', {"template": "{other}"}, "the template names 'other'; there are input"),
        ("a.jsonl", '{"input": "x"}', {"template": "{input.__class__}"}, "names 'input.__class__'"),
        ("a.jsonl", '{"input": "x"}', {"template": "{0!r}"}, "is no template"),
        ("a.jsonl", '{"input": "x"}', {"select": {"where": {"k": 1}}}, "there is no column 'k'; there are input"),
        ("a.jsonl", '{"input": "x"}', {"select": {"count": 2}}, "there are only 1 questions"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(
    load: Load, tmp_path: Path, name: str, content: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(SpecError) as error:
        load(path=name, **options)
    assert message in str(error.value)
    assert len(error.value.problems) == 1
    assert error.value.exit_code == 2


def test_a_file_that_is_not_there_is_refused(load: Load) -> None:
    with pytest.raises(SpecError, match="there is no file"):
        load(path="none.jsonl")
