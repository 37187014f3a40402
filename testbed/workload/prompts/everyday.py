"""Questions about the real world, easy enough for a model of 135 million parameters to know some of the answers.

The table ``everyday.csv`` holds them, with every accepted answer. docs/prompts.md says how many SmolLM2 knows.
"""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from testbed.core.chat import ChatMessage
from testbed.workload.prompts.base import Question
from testbed.workload.prompts.collection import Collection, Entry

TABLE: Final = Path(__file__).with_name("everyday.csv")

_EXAMPLE: Final = "example"  # the level of rows that show the form of answers, and are not asked


class Everyday(Collection):
    """Capitals, opposites, elements, sums, units and past tenses, in three levels; labels are these tasks.

    Each question follows three others of its task with their answers, so that models answer in the same form. Columns
    for ``select.where`` are ``task`` and ``level`` (easy, medium, hard).
    """

    def entries(self) -> Sequence[Entry]:
        """All questions of the table."""
        return _entries()


@cache
def _entries() -> tuple[Entry, ...]:
    with TABLE.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    examples: dict[str, tuple[ChatMessage, ...]] = {}
    for row in rows:
        if row["level"] == _EXAMPLE:
            asked: ChatMessage = {"role": "user", "content": row["input"]}
            answered: ChatMessage = {"role": "assistant", "content": row["target"].partition("|")[0]}
            examples[row["task"]] = (*examples.get(row["task"], ()), asked, answered)
    return tuple(
        Entry(row, _question(row, number, examples[row["task"]]))
        for number, row in enumerate(rows, 2)
        if row["level"] != _EXAMPLE
    )


def _question(row: dict[str, str], number: int, before: tuple[ChatMessage, ...]) -> Question:
    truth, *accepted = row["target"].split("|")
    return Question(
        row["input"],
        truth,
        row["task"],
        tuple(accepted),
        id=f"{row['task']}-{number}",
        before=before,
        place=f"{TABLE.name}:{number}",
    )
