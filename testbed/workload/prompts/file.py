"""Questions from a file of the user's."""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from testbed.core import seeds
from testbed.core.chat import ChatMessage
from testbed.core.input_files import InputFile
from testbed.workload.prompts.base import LETTERS, Question
from testbed.workload.prompts.collection import Collection, Entry
from testbed.workload.prompts.tables import Row, rows_of

_TRUE = ("true", "yes", "1")
_FALSE = ("false", "no", "0", "")


class FilePrompts(Collection):
    """Questions from a JSON-lines, CSV or Parquet file, whose columns are named by the options."""

    path: InputFile = Field(description="the file, from the scenario's directory: .jsonl, .csv or .parquet")
    header: list[str] = Field(default_factory=list, description="columns of a CSV file that does not name them")
    input: str = Field("input", description="column of the question; a list in it holds the turns of a conversation")
    target: str | None = Field(None, description="column of the truth, or of a list of accepted answers")
    extract: str | None = Field(None, description="regular expression that finds the truth in the target")
    choices: str | list[str] | None = Field(None, description="column of a list of choices, or a column for each")
    id: str | None = Field(None, description="column of the question's name")
    label: str | None = Field(None, description="column of the question's subject")
    secret: str | None = Field(None, description="column that says whether the question must stay on its device")
    turns: Literal["all", "first"] = Field("all", description="which turns of a conversation are asked")
    template: str = Field("{input}", description="what is asked; columns in braces, like {input}")
    examples: int = Field(0, ge=0, description="questions that are shown with their answers before each other one")

    @property
    def scored_by(self) -> str:
        """``choice`` for multiple-choice questions."""
        return "exact" if self.choices is None else "choice"

    def entries(self) -> Sequence[Entry]:
        """The questions of the file, without those that are shown as examples."""
        return self._entries

    @field_validator("extract")
    @classmethod
    def _check_extract(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return pattern

    @field_validator("template")
    @classmethod
    def _check_template(cls, template: str) -> str:
        _names_in(template)
        return template

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Read the file, so that `validate` reports what is wrong with it."""
        self.known()
        return self

    @cached_property
    def _entries(self) -> Sequence[Entry]:
        read = [Entry(row.columns, self._question(row)) for row in rows_of(Path(self.path), self.header)]
        if not self.examples:
            return read
        if self.examples >= len(read):
            raise ValueError(f"{self.path}: {self.examples} of {len(read)} questions as examples leave none to ask")
        shown = set(seeds.stream(self.select.seed, "examples").sample(range(len(read)), self.examples))
        before = tuple(message for place in sorted(shown) for message in _shown(read[place].question))
        return [
            Entry(entry.columns, replace(entry.question, before=before))
            for place, entry in enumerate(read)
            if place not in shown
        ]

    def _question(self, row: Row) -> Question:
        first, *following = self._turns(row)
        choices = self._choices(row)
        truths = self._truths(row, choices)
        if following and truths:
            raise ValueError(f"{row.place}: a conversation cannot have a target; leave out `target`, or `turns: first`")
        return Question(
            first,
            truths[0] if truths else None,
            label="" if self.label is None else str(_cell(row, self.label)),
            accepted=tuple(truths[1:]),
            id="" if self.id is None else str(_cell(row, self.id)),
            choices=tuple(choices),
            secret=self.secret is not None and _truth_value(row, self.secret),
            turns=tuple(following),
            place=row.place,
        )

    def _turns(self, row: Row) -> list[str]:
        written = _cell(row, self.input)
        turns = written if isinstance(written, list) else [written]
        if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
            raise ValueError(f"{row.place}: {self.input} is {written!r}; a question must be text, or a list of texts")
        first, *following = turns
        lettered = "".join(f"\n{LETTERS[number]}. {text}" for number, text in enumerate(self._choices(row)))
        asked = _filled(self.template, {**row.columns, "input": first}, row.place) + lettered
        return [asked, *(following if self.turns == "all" else ())]

    def _choices(self, row: Row) -> list[str]:
        if self.choices is None:
            return []
        if isinstance(self.choices, list):
            found = [_cell(row, column) for column in self.choices]
        else:
            found = _cell(row, self.choices)
        if not isinstance(found, list) or not 2 <= len(found) <= len(LETTERS):
            raise ValueError(f"{row.place}: {self.choices} must hold a list of 2 to {len(LETTERS)} choices")
        return [str(choice) for choice in found]

    def _truths(self, row: Row, choices: Sequence[str]) -> list[str]:
        if self.target is None:
            return []
        written = _cell(row, self.target)
        targets = written if isinstance(written, list) else [written]
        if not targets or any(target is None or str(target).strip() == "" for target in targets):
            raise ValueError(f"{row.place}: {self.target} is empty")
        if choices:
            return [_letter(target, choices, row.place) for target in targets]
        return [self._extracted(str(target), row.place) for target in targets]

    def _extracted(self, target: str, place: str) -> str:
        if self.extract is None:
            return target.strip()
        if (found := re.search(self.extract, target)) is None:
            raise ValueError(f"{place}: {self.extract!r} finds nothing in {self.target}")
        return (found[1] or "" if found.re.groups else found[0]).strip()


def _cell(row: Row, column: str) -> Any:
    if column not in row.columns:
        raise ValueError(f"{row.place}: there is no column {column!r}; there are {', '.join(map(str, row.columns))}")
    return row.columns[column]


def _truth_value(row: Row, column: str) -> bool:
    written = str(_cell(row, column)).lower()
    if written not in (*_TRUE, *_FALSE):
        raise ValueError(f"{row.place}: {column} is {written!r}; it must be true or false")
    return written in _TRUE


def _letter(target: object, choices: Sequence[str], place: str) -> str:
    """The letter of the right choice, which is written as a letter, as its text, or as its number from 0."""
    if isinstance(target, int) and 0 <= target < len(choices):
        return LETTERS[target]
    text, letters = str(target).strip(), LETTERS[: len(choices)]
    if len(text) == 1 and text.upper() in letters:
        return text.upper()
    if list(choices).count(text) == 1:
        return letters[list(choices).index(text)]
    raise ValueError(f"{place}: the target {text!r} is no choice; there are {letters[0]} to {letters[-1]}")


def _names_in(template: str) -> list[str]:
    """The columns that a template names; raises ValueError."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r} is no template: {error}; write {{{{ for a brace") from None
    names = [name for _, name, form, conversion in parts if name is not None and not form and not conversion]
    if len(names) != sum(name is not None for _, name, _, _ in parts) or not all(names):
        raise ValueError(f"{template!r} is no template: braces hold a column's name, like {{input}}")
    return names


def _filled(template: str, columns: Mapping[str, Any], place: str) -> str:
    parts = string.Formatter().parse(template)
    for name in _names_in(template):
        if name not in columns:
            raise ValueError(f"{place}: the template names {name!r}; there are {', '.join(map(str, columns))}")
    return "".join(literal + ("" if name is None else str(columns[name])) for literal, name, _, _ in parts)


def _shown(question: Question) -> tuple[ChatMessage, ...]:
    if question.truth is None:
        raise ValueError(f"{question.place}: an example needs a truth; name the column as `target`")
    return {"role": "user", "content": question.text}, {"role": "assistant", "content": question.truth}
