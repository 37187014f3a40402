"""Answers score as in inspect-ai 0.3 and lm-evaluation-harness 0.4, whose own code scored the table once."""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from testbed.workload.prompts.base import Question
from testbed.workload.scoring.base import SCORERS

with Path(__file__).with_name("scored_pairs.csv").open(encoding="utf-8", newline="") as table:
    PAIRS = list(csv.DictReader(table))


def _score(pair: Mapping[str, str]) -> float | None:
    kind, option = SCORERS.get(pair["scorer"]), pair["option"]
    pattern = {"pattern": option} if pair["scorer"] == "regex" else {}
    choices = tuple(option.split("|")) if pair["scorer"] == "choice" else ()
    scorer = kind.model_validate({"scorer": pair["scorer"], **pattern})
    return scorer.score(Question("?", pair["truth"], choices=choices), pair["answer"])


def test_there_are_500_pairs_of_both_with_right_and_wrong_answers() -> None:
    assert len(PAIRS) >= 500
    right = Counter((pair["scored_by"], float(pair["score"]) > 0.5) for pair in PAIRS)
    assert all(right[scored_by, told] >= 5 for scored_by, _ in right for told in (True, False))


@pytest.mark.parametrize("scored_by", sorted({pair["scored_by"] for pair in PAIRS}))
def test_every_pair_scores_as_there(scored_by: str) -> None:
    differing = [
        (pair["answer"], pair["truth"], pair["score"], _score(pair))
        for pair in PAIRS
        if pair["scored_by"] == scored_by and _score(pair) != pytest.approx(float(pair["score"]))
    ]
    assert differing == []
