"""Prompts from a file of the user's."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, field_validator

from testbed.core.input_files import InputFile
from testbed.workload.prompts.base import PromptSource, Question


class Jsonl(PromptSource):
    """Questions from a JSONL file: a line is {"text": …}, and may have "truth" and "label"."""

    path: InputFile = Field(description="the file, from the scenario's directory")

    @field_validator("path")
    @classmethod
    def _check(cls, path: str) -> str:
        """Read the file, so that `validate` reports what is wrong with it."""
        file = Path(path)
        if not file.is_file():
            raise ValueError(f"there is no file {file}")
        if not read(file):
            raise ValueError(f"{file} has no questions")
        return path

    def questions(self, count: int, seed: int) -> Sequence[Question]:
        """All questions in a random order, again and again until there are ``count``."""
        generator = random.Random(f"jsonl {seed}")
        known = read(Path(self.path))
        asked: list[Question] = []
        while len(asked) < count:
            asked += generator.sample(known, len(known))
        return asked[:count]


def read(file: Path) -> list[Question]:
    """The questions of a JSONL file; raises ValueError with the number of a line that is wrong."""
    return [
        _question(line, f"{file}:{number}")
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if line.strip()
    ]


def _question(line: str, place: str) -> Question:
    try:
        written = json.loads(line)
        return Question(str(written["text"]), written.get("truth"), written.get("label", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f'{place}: a line must read {{"text": "2 + 2?", "truth": "4"}}') from None
