"""``response_format``: answers that a grammar holds to JSON, to a JSON schema, or to one of several texts.

A schema is bounded in size and depth before it becomes a grammar, and a keyword that the grammar would not hold is
refused. Nothing is fetched.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from llama_cpp.llama_grammar import JSON_GBNF, json_schema_to_gbnf
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_LARGEST: Final = 2**14  # bytes of a schema as JSON
_DEEPEST: Final = 16
_MOST_REPEATED: Final = 256
_LARGEST_GRAMMAR: Final = 2**16
_MOST_CHOICES: Final = 256
_REPEATING: Final = ("minItems", "maxItems", "minLength", "maxLength")
_STRING_FORMATS: Final = ("date", "time", "date-time", "uuid")
_NOTES: Final = ("title", "description", "default", "examples", "$schema", "$id", "$comment")
_HELD: Final = (
    "type", "properties", "required", "additionalProperties", "items", "prefixItems", "enum", "const", "oneOf", "anyOf",
    "allOf", "$ref", "$defs", "definitions", "format", *_REPEATING,
)  # fmt: skip
_NAMING: Final = ("properties", "$defs", "definitions")  # whose keys are names, and no keywords
_PLAIN: Final = ("enum", "const", "default", "examples", "required")  # whose values are no schemas


class _Format(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextFormat(_Format):
    """``{"type": "text"}``: the answer may have any form."""

    type: Literal["text"]

    @property
    def grammar(self) -> str | None:
        """None, since every text fits."""
        return None


class JsonFormat(_Format):
    """Any JSON object."""

    type: Literal["json_object"]

    @property
    def grammar(self) -> str:
        """JSON, with an object outside."""
        return str(JSON_GBNF)


class Schema(_Format):
    """A named JSON schema. ``strict`` changes nothing: the answer is always held to the schema."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
    definition: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> "Schema":
        if len(json.dumps(self.definition)) > _LARGEST:
            raise ValueError(f"the schema is larger than {_LARGEST} bytes")
        for problem in _problems(self.definition, 0):
            raise ValueError(problem)
        if len(self.grammar) > _LARGEST_GRAMMAR:
            raise ValueError(f"the schema makes a grammar larger than {_LARGEST_GRAMMAR} bytes")
        return self

    @cached_property
    def grammar(self) -> str:
        """The schema as a grammar; raises ValueError."""
        try:
            return str(json_schema_to_gbnf(json.dumps(self.definition)))
        except Exception as error:  # the converter raises what it likes
            raise ValueError(f"the schema cannot be made a grammar: {error}") from error


class SchemaFormat(_Format):
    """JSON that a schema describes."""

    type: Literal["json_schema"]
    json_schema: Schema

    @property
    def grammar(self) -> str:
        """The grammar of the schema."""
        return self.json_schema.grammar


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r} is no choice; its characters must be printable")
    return text


class ChoicesFormat(_Format):
    """One of several texts. The format is the testbed's own: OpenAI's API has none like it."""

    type: Literal["choices"]
    choices: list[Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]] = Field(
        min_length=1, max_length=_MOST_CHOICES
    )

    @property
    def grammar(self) -> str:
        """Any of the texts. A space may lead it: many vocabularies have words with a leading space alone."""
        return f'root ::= " "? ({" | ".join(json.dumps(text, ensure_ascii=False) for text in self.choices)})'


ResponseFormat = Annotated[TextFormat | JsonFormat | SchemaFormat | ChoicesFormat, Field(discriminator="type")]


def _problems(schema: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        yield f"the schema is nested deeper than {_DEEPEST} levels"
        return
    if isinstance(schema, list):
        for item in schema:
            yield from _problems(item, depth + 1)
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        if keyword in _NAMING and isinstance(value, dict):
            for named in value.values():
                yield from _problems(named, depth + 1)
        elif keyword not in (*_HELD, *_NOTES):
            yield f"the schema's {keyword!r} is not supported"
        elif keyword in _REPEATING and not (isinstance(value, int) and 0 <= value <= _MOST_REPEATED):
            yield f"the schema's {keyword!r} must be a number from 0 to {_MOST_REPEATED}"
        elif keyword == "format" and value not in _STRING_FORMATS:
            yield f"the schema's format {value!r} is not supported; known are {', '.join(_STRING_FORMATS)}"
        elif keyword == "$ref" and not str(value).startswith("#/"):
            yield f"the schema's $ref {value!r} must begin with #/"
        elif keyword not in _PLAIN:
            yield from _problems(value, depth + 1)
