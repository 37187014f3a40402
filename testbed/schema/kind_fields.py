"""Fields whose type the file names: ``pattern: {kind: gossip-moa, layers: 2}``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from testbed.core.input_files import anchored as anchored_path
from testbed.core.registry import FILE_REFERENCE_PATTERN, KindError, Registry, anchored
from testbed.schema.reading.explain import Mistake, MistakesError, explain


@dataclass(frozen=True)
class OfKind:
    """Annotates a field whose value is of a kind in ``registry``, named under ``key``.

    A string in place of a mapping names a kind that requires no options. A mapping without ``key`` is of the kind that
    has an option of its own name, as ``{endpoint: URL}`` is, else of the kind ``default``.
    """

    registry: Registry[Any]
    key: str
    default: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by the schema of the named kind."""
        del source, handler
        return core_schema.with_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(self._dumped, info_arg=True)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Any kind that can be loaded, a kind of one file with any options, or a string."""
        del schema
        kinds = [self._described(name, kind, handler) for name, kind in loadable(self.registry)]
        of_file = {"type": "string", "pattern": FILE_REFERENCE_PATTERN}
        options = {"type": "object", "properties": {self.key: of_file}, "required": [self.key]}
        return {"anyOf": [*kinds, options, {"type": "string"}]}

    def _read(self, written: Any, info: core_schema.ValidationInfo) -> Any:
        if isinstance(written, BaseModel):
            return written
        options = {self.key: written} if isinstance(written, str) else written
        if not isinstance(options, dict):
            raise ValueError("must hold keys and values")
        name = options.get(self.key, self._implied(options))
        if name is None:
            raise ValueError(f"`{self.key}` is missing")
        kind, name = find(self.registry, self.key, name, info.context)
        if isinstance(written, str) and _needs_options(kind, self.key):
            raise ValueError("must hold keys and values")
        return read(kind, {**options, self.key: name}, info.context)

    def _implied(self, options: Mapping[Any, Any]) -> str | None:
        return next((name for name in self.registry.names() if name in options and self._is_option(name)), self.default)

    def _is_option(self, name: str) -> bool:
        """Whether the kind ``name`` has an option of that name."""
        try:
            return name in self.registry.get(name).model_fields
        except KindError:
            return False

    def _dumped(self, value: BaseModel, info: core_schema.SerializationInfo) -> Any:
        written = value.model_dump(mode=info.mode, by_alias=info.by_alias or False, exclude_none=info.exclude_none)
        return written[self.key] if list(written) == [self.key] else written

    def _described(self, name: str, kind: type[BaseModel], handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(kind.__pydantic_core_schema__))
        properties = {**schema.get("properties", {}), self.key: {"const": name, "type": "string"}}
        implied = name == self.default or name in schema.get("properties", {})
        required = [key for key in schema.get("required", ()) if key != self.key or not implied]
        return {**schema, "properties": properties, "required": required}


def find(registry: Registry[Any], key: str, name: Any, context: Any) -> tuple[Any, str]:
    """The kind that a file calls ``name``, and its name with a path made absolute; raises MistakesError at ``key``."""
    if not isinstance(name, str):
        raise MistakesError([((key,), f"`{name}` is wrong: it should name a {registry.noun}")])
    name = anchored(name, anchored_path(".", context))
    if name not in registry:
        known = ", ".join(f"'{known}'" for known in registry.names())
        raise MistakesError([((key,), f"`{name}` is wrong: it should be one of {known}")])
    try:
        return registry.get(name), name
    except KindError as error:
        raise MistakesError([((key,), str(error))]) from error


def read(kind: type[BaseModel], written: Any, context: Any) -> Any:
    """``written`` as ``kind``; raises MistakesError with every mistake."""
    try:
        return kind.model_validate(written, context=context)
    except ValidationError as error:
        raise MistakesError(list(mistakes_of(error, kind))) from None


def mistakes_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Mistake]:
    """Every mistake that ``error`` found in ``model``."""
    for detail in error.errors():
        yield from explain(detail, model)


def _needs_options(kind: type[BaseModel], key: str) -> bool:
    return any(field.is_required() for name, field in kind.model_fields.items() if name != key)


def loadable(registry: Registry[Any]) -> Iterator[tuple[str, Any]]:
    """The kinds of installed packages that can be loaded, by name."""
    for name in registry.names():
        try:
            yield name, registry.get(name)
        except KindError:  # `testbed kinds` says why
            continue
