"""Reads recipes: each section is checked by its stage, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from ruie_components.errors import explain
from ruie_training.data.settings import Data, Section
from ruie_training.errors import RecipeError
from ruie_training.pipeline.stages import STAGES
from ruie_training.recipes import Recipe, find_recipe, read_tables


def _field(stage: Any) -> Any:
    if stage.optional:
        return (stage.settings_type | None, None)
    return (stage.settings_type, stage.settings_type())


_RecipeOfStages: type[Recipe] = create_model(
    "_RecipeOfStages", __base__=Recipe, **{name: _field(stage) for name, stage in STAGES.items()}
)


def read_recipe(name: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name: A TOML file, or the name of a recipe of this package, with or without ``.toml``.

    Raises:
        RecipeError: No such recipe, invalid TOML, an unknown key, a value out of range. The message names file and key.
    """
    path = find_recipe(name)
    return make_recipe(read_tables(path), str(path))


def make_recipe(tables: Mapping[str, Any], source: str = "the recipe") -> Recipe:
    """A recipe from its tables.

    Args:
        tables: The content of a TOML file.
        source: Their origin, for error messages.

    Raises:
        RecipeError: An unknown key, a value out of range, sections that contradict each other.
    """
    try:
        recipe = _RecipeOfStages.model_validate(tables)
    except ValidationError as error:
        raise RecipeError(f"{source} is not a valid recipe: {explain(error, most=20)}") from error
    for name in stages_of(recipe):
        try:
            STAGES[name].validate(recipe)
        except ValueError as error:
            raise RecipeError(f"{source} is not a valid recipe: {error}") from error
    return recipe


def stages_of(recipe: Recipe) -> list[str]:
    """The stages of a recipe, in order: those with a section."""
    return [name for name, stage in STAGES.items() if recipe.section(stage.settings_type) is not None]


def describe_keys() -> str:
    """Every key of a recipe with its type, default and meaning, by section, as Markdown."""
    sections: list[tuple[str, type[Section]]] = [("", Recipe), ("data", Data)]
    sections += [(name, stage.settings_type) for name, stage in STAGES.items()]
    return "\n".join(line for name, kind in sections for line in _describe(name, kind))


def _describe(name: str, kind: type[Section]) -> Iterator[str]:
    choice = kind.model_fields.get("kind")
    suffix = f", kind = {_values(choice)}" if choice else ""
    yield f"### [{name}]{suffix}" if name else "### Top level"
    yield from ("", (kind.__doc__ or "").partition("\n")[0], "")
    yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    tables: list[tuple[str, type[Section]]] = []
    for key, field in kind.model_fields.items():
        inner = list(_sections_in(field.annotation))
        if not name and inner:
            continue  # [data] has a heading of its own
        tables += [(f"{name}.{key}", each) for each in inner]
        default = "required" if field.is_required() else "" if inner else f"`{_toml(field.default)}`"
        meaning = " ".join((field.description or "").split()).replace("``", "`")
        yield f"| `{key}` | {'table' if inner else _values(field)} | {default} | {meaning} |"
    yield ""
    for inner_name, each in tables:
        yield from _describe(inner_name, each)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """The kinds of sections of a field."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def _values(field: FieldInfo) -> str:
    """The values of a key, as a word or a list of choices."""
    annotation: Any = field.annotation
    schema = TypeAdapter(annotation).json_schema()
    definitions = schema.get("$defs", {})

    def words(part: Mapping[str, Any]) -> Iterator[str]:
        if "$ref" in part:
            yield from words(definitions[part["$ref"].rpartition("/")[2]])
        elif "anyOf" in part:
            for each in part["anyOf"]:
                yield from words(each)
        elif "enum" in part or "const" in part:
            yield from (f"`{value}`" for value in part.get("enum", [part.get("const")]))
        elif part.get("type") == "array":
            yield f"list of {' or '.join(words(part['items']))}"
        elif part.get("type") != "null":
            yield str(part.get("type", "any"))

    return ", ".join(words(schema))


def _toml(value: Any) -> str:
    """A default as in a recipe; ``none`` for an omitted key."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
