"""YAML files with the line of each value."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from testbed.core.errors import Problem, SpecError
from testbed.core.presence import is_file
from testbed.schema.link_names import link_name, numbers
from testbed.schema.reading.explain import Loc, dotted, explain

Model = TypeVar("Model", bound=BaseModel)

NOT_YAML: Final = (YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError)
"""What ruamel.yaml raises, also for impossible dates, lists nested too deeply, and tags that do not fit a value."""


@dataclass(frozen=True)
class Document:
    """The content of one file; ``included`` has the files whose content replaces a path, by key."""

    path: Path
    data: Any
    included: Mapping[str, "Document"] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Document":
        """Read a YAML 1.2 file whose top level is a mapping; raises SpecError."""
        try:
            data = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise SpecError.of(path, "there is no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError.of(path, f"cannot be read: {error}") from None
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise SpecError.of(path, f"is not valid YAML: {error.problem}", line) from None
        except NOT_YAML as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise SpecError.of(path, f"is not valid YAML: {reason}") from None
        if not isinstance(data, CommentedMap):
            raise SpecError.of(path, "must hold keys and values, like `name: my-run`", 1)
        return cls(path, data)

    def include(self, key: str) -> "Document":
        """A copy in which the path under ``key`` is replaced by the content of that file; raises SpecError."""
        path = self.path.parent / self.data[key]
        if not is_file(path):
            raise SpecError([self.problem((key,), f"there is no file {path}")])
        other = Document.load(path)
        self.data[key] = other.data
        return replace(self, included={**self.included, key: other})

    def parse(self, model: type[Model]) -> Model:
        """The content as ``model``; raises SpecError with every mistake and its line.

        The validation context has the directory of each file, by the key of an included file; "" is this file.
        """
        context = {"": self.path.parent, **{key: other.path.parent for key, other in self.included.items()}}
        try:
            return model.model_validate(self.data, context=context)
        except ValidationError as error:
            mistakes = chain.from_iterable(explain(detail, model) for detail in error.errors())
            raise SpecError([self.problem(*mistake) for mistake in mistakes]) from None

    def problem(self, loc: Loc, message: str) -> Problem:
        """The mistake at ``loc``, with file and line."""
        if loc and loc[0] in self.included:
            return self.included[str(loc[0])].problem(loc[1:], message)
        place = dotted(self._written(loc))
        return Problem(str(self.path), self._line(loc), f"{place}: {message}" if place else message)

    def _written(self, loc: Loc) -> Loc:
        """``loc`` without the fields that a single written value stands for: ``loss`` of ``loss: 1%``."""
        node = self.data
        for depth, step in enumerate(loc):
            if _is_scalar(node):
                return loc[:depth]
            try:
                node = node[step]
            except (LookupError, TypeError):
                break
        return loc

    def _line(self, loc: Loc) -> int:
        """The line of ``loc``, or of the part around it, from 1; 0 of a value from the command line."""
        node, line = self.data, self.data.lc.line + 1 if isinstance(self.data, CommentedMap) else 1
        for step in loc:
            if not isinstance(node, CommentedMap | CommentedSeq):
                break
            if step in (node.lc.data or {}):
                line = node.lc.data[step][0] + 1
            elif isinstance(node, CommentedMap) and step in node:
                return 0
            else:
                break
            node = node[step]
        return line


def _is_scalar(node: Any) -> bool:
    return not isinstance(node, dict | list)


def override(document: Document, assignments: Iterable[str]) -> None:
    """Apply ``KEY.KEY=VALUE`` assignments of complete keys and YAML values; raises SpecError."""
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        _assign(document.data, key, read_value("--set", text))


def read_value(option: str, text: str) -> Any:
    """The value of YAML text in an option of the command line; raises SpecError."""
    try:
        return YAML(typ="safe").load(text)
    except NOT_YAML:
        raise SpecError.of(option, f"{text!r} is not a YAML value") from None


def _assign(data: Any, key: str, value: object) -> None:
    *parents, last = _steps(key)
    for step in parents:
        data = _enter(data, step, key)
    if isinstance(data, CommentedSeq):
        data[_index(data, last, key)] = value
    else:
        data[last] = value
        (data.lc.data or {}).pop(last, None)


def _steps(key: str) -> list[str]:
    """The steps of a key. Under ``expect`` the last step is the name of a metric, which may have dots."""
    expected = re.fullmatch(r"(expect)\.(?:(\d+)\.)?(.+)", key)
    return [step for step in expected.groups() if step is not None] if expected else key.split(".")


def _enter(data: Any, step: str, key: str) -> Any:
    """The value under ``step``, created as a mapping if the file does not have it."""
    if isinstance(data, CommentedSeq):
        return data[_index(data, step, key)]
    child = data.setdefault(step, CommentedMap())
    if not isinstance(child, CommentedMap | CommentedSeq):
        raise SpecError.of("--set", f"{key}: `{step}` has no keys of its own in the file")
    return child


def _index(data: CommentedSeq, step: str, key: str) -> int:
    """The index of an entry that ``step`` numbers from 0, or names as a link: ``a-s1`` or ``a ↔ s1``."""
    links = _link_names(data)
    if (name := step.replace(" ↔ ", "-")) in links:
        return links.index(name)
    if step.isdecimal() and int(step) < len(data):
        return int(step)
    right = f"the number of an entry, from 0 to {len(data) - 1}" if data else "left out: the file has no entry there"
    named = f", or a link of {', '.join(links)}" if links else ""
    raise SpecError.of("--set", f"{key}: `{step}` must be {right}{named}")


def _link_names(data: CommentedSeq) -> list[str]:
    """The names of the links in a list of links; none in another list."""
    ends = [(str(a), str(b)) for a, b in (entry["endpoints"] for entry in data if _is_link(entry))]
    return [link_name(*pair, number) for pair, number in zip(ends, numbers(ends), strict=True)]


def _is_link(entry: Any) -> bool:
    return isinstance(entry, CommentedMap) and isinstance(ends := entry.get("endpoints"), list) and len(ends) == 2
